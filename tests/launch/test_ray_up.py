"""``ray up cluster.yaml`` on machines of one's own: launched over ssh, a topic at work on all of them, ended again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch.machines import Machine
from tests.support.live import BIN, Project, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DASHBOARD = "http://127.0.0.1:8265"
LAUNCH_S = 300
RAY = str(BIN / "ray")


class Launcher:
    """Somebody at the desk, in the directory of the clone."""

    def __init__(self, clone: Path, project: Project) -> None:
        self._clone = clone
        self._project = project

    def ray(self, *words: str, within_s: float = LAUNCH_S) -> str:
        done = subprocess.run(
            [RAY, *words],
            cwd=self._clone,
            env=self._project.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within_s,
            check=False,
        )
        assert done.returncode == 0, f"ray {words} exited {done.returncode}:\n{done.stdout}"
        return done.stdout

    def job(self, *words: str) -> str:
        """Run a command on the cluster, with the project's directory."""
        return self._project.run(
            RAY, "job", "submit", "--address", DASHBOARD, "--working-dir", ".", "--", *words, within_s=120
        ).stdout

    @contextlib.contextmanager
    def dashboard(self) -> Iterator[None]:
        """``ray dashboard``, which forwards a port for as long as it runs."""
        log = self._clone.parent / "dashboard.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [RAY, "dashboard", "cluster.yaml"],
                cwd=self._clone, env=self._project.environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def nodes(self) -> list[dict[str, Any]]:
        words = ("list", "nodes", "--address", DASHBOARD, "--filter", "state=ALIVE", "--format", "json", "--detail")
        done = self._project.run(RAY, *words, check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout) if done.returncode == 0 else []
        return found


def handled(machine: Machine) -> Counter[str]:
    """How often each id was handled on ``machine``."""
    files = machine.directory.glob("ledger.orders.*")
    return Counter(line.split()[0] for file in files for line in file.read_text().splitlines())


def test_ray_up_gives_a_cluster_that_handles_messages_and_ray_down_leaves_nothing_running(
    clone: Path, machines: list[Machine], project: Project, key: Path
) -> None:
    head, worker = machines
    launcher = Launcher(clone, project)
    launcher.ray("up", "--yes", "--no-config-cache", "cluster.yaml")
    with launcher.dashboard():
        nodes = wait_until(lambda: len(found := launcher.nodes()) == 2 and found, LAUNCH_S, "both machines are nodes")
        assert {node["node_ip"] for node in nodes} == {head.ip, worker.ip}
        whole_machine = min(node["resources_total"]["CPU"] for node in nodes)
        orders = {"handler": "Sync", "workers": {"min": 2, "max": 2}, "worker": {"num_cpus": whole_machine}}
        project.configure({"orders": {**orders, "options": {"ledger": "/tmp/ledger.orders", "sleep_s": 0.02}}})
        assert "is up and stays" in launcher.job("hermes", "serve", "config=my.yaml", "detach=true")
        confirmed = project.publish("orders", count=2000)
        wait_until(lambda: not confirmed - set(handled(head)) - set(handled(worker)), 60, "all are handled")
        assert handled(head)
        assert handled(worker)
    launcher.ray("down", "--yes", "cluster.yaml")
    head.wait_idle(10)
    worker.log_in(key, "hermes-env/bin/ray", "stop")
    worker.wait_idle(30)
