"""A desk with a clone on it, and two machines that it reaches by ssh."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hermes_ray.broker.private.local import LocalBroker
from tests.launch.machines import PROFILE, USER, Machine, become_user, lay_cable, run
from tests.support.cluster_file import local_variant
from tests.support.live import BIN, RAY_SETTINGS, ROOT, Project

WHEELS = Path(sys.prefix, "wheels")
NEEDS = (
    "tests/launch runs ray stop, which ends every Ray it sees: start it with `make test-ray-up`, apart from the others"
)


@pytest.fixture(scope="session", autouse=True)
def apart() -> None:
    """Process 1, and no way out of here: these tests are alone in their namespaces. Nothing before this one counts."""
    routes = Path("/proc/net/route").read_text().splitlines()
    if os.getpid() != 1 or os.readlink("/proc/self") != "1" or len(routes) > 1:
        pytest.fail(NEEDS, pytrace=False)
    lay_cable()


@pytest.fixture
def desk() -> Iterator[Path]:
    """A directory of ours, with a home in it; all that ray leaves on a desk is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hermes-desk-") as made:
        directory = Path(made)
        (directory / "home").mkdir()
        become_user(directory / "passwd")
        yield directory
        run("umount", "/etc/passwd")
        hashed = hashlib.sha256(directory.name.encode()).hexdigest()[:10]
        shutil.rmtree(f"/tmp/ray_ssh_{hashed}", ignore_errors=True)


@pytest.fixture
def key(desk: Path) -> Path:
    """The key that opens every machine."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(desk / "key"))
    return desk / "key"


@pytest.fixture
def machines(desk: Path, key: Path, broker: LocalBroker) -> Iterator[list[Machine]]:
    """A head and a worker, with python3.11 on them and a tunnel to the broker, which listens on loopback only."""
    python = Path(sys.base_prefix, "bin")
    assert (python / "python3.11").exists(), (
        "cluster.yaml says python3.11: make distclean, make install PYTHON=python3.11"
    )
    with contextlib.ExitStack() as stack:
        started = []
        for name, ip in (("head", "192.0.2.10"), ("worker", "192.0.2.11")):
            directory = desk / name
            (directory / "home").mkdir(parents=True)
            (directory / "home" / ".profile").write_text(PROFILE.format(python=python))
            shutil.copy(key.with_suffix(".pub"), directory / "authorized_keys")
            machine = Machine(name, ip, directory, WHEELS)
            stack.callback(machine.stop)
            machine.start()
            tunnel = machine.tunnel(key, broker.port)
            stack.callback(tunnel.wait)
            stack.callback(tunnel.kill)
            started.append(machine)
        yield started


@pytest.fixture
def environment(desk: Path) -> dict[str, str]:
    """What a terminal at the desk has; the token is made by the first command that needs one."""
    ours = {"HOME": str(desk / "home"), "LOGNAME": desk.name, "RAY_TMPDIR": str(desk), "RAY_AUTH_MODE": "token"}
    return {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | RAY_SETTINGS | ours


@pytest.fixture
def clone(desk: Path, key: Path, machines: list[Machine], vhost_url: str, environment: dict[str, str]) -> Path:
    """This project with its cluster.yaml edited for our machines, and what it says about cluster.env done."""
    config = local_variant()
    copied = desk / "clone"
    shutil.copytree(ROOT, copied, ignore=shutil.ignore_patterns(*config["rsync_exclude"]))
    config["provider"] |= {"head_ip": machines[0].ip, "worker_ips": [machine.ip for machine in machines[1:]]}
    config["auth"] = {"ssh_user": USER, "ssh_private_key": str(key)}
    (copied / "cluster.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    made = [str(BIN / "ray"), "get-auth-token", "--generate"]
    token = subprocess.run(made, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    secrets = {"HERMES_BROKER_URL": vhost_url, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token.strip()}
    (copied / "cluster.env").write_text("".join(f"{key}='{value}'\n" for key, value in secrets.items()))
    return copied


@pytest.fixture
def project(desk: Path, vhost_url: str, environment: dict[str, str]) -> Project:
    """A user's project at the desk."""
    (desk / "project").mkdir()
    return Project(desk / "project", vhost_url, "hermes", environment)
