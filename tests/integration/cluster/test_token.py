"""A cluster with token authentication: everything works with the token, and nothing without."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_ray.broker.private.local import LocalBroker
from tests.support.head import ray_head
from tests.support.live import BIN, Cluster, Project, wait_until
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.slow

REFUSED_WITHIN_S = 30
HANDLER = {"orders": {"handler": "Sync", "options": {"sleep_s": 0.02}, "workers": {"min": 1, "max": 3}}}


@pytest.fixture(scope="module")
def url(broker: LocalBroker, new_vhost: Callable[[], str]) -> str:
    return broker.url(new_vhost())


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("token") / "auth_token"
    file.write_text(secrets.token_hex(32))
    return file


@pytest.fixture(scope="module")
def guarded(token: Path, url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "HERMES_BROKER_URL": url,
        "HOME": str(tmp_path_factory.mktemp("home")),
    }
    with ray_head(num_cpus=4, resources={}, settings=settings) as cluster:
        yield cluster


@pytest.fixture
def project(guarded: Cluster, token: Path, url: str, tmp_path: Path) -> Project:
    """A user who has the token, in a home without any."""
    (tmp_path / "home").mkdir()
    with_token = {"HOME": str(tmp_path / "home"), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    project = Project(tmp_path, url, f"token-{tmp_path.name}", {**guarded.environment, **with_token})
    project.configure(HANDLER)
    return project


def state_of(project: Project, topic: str = "orders") -> dict[str, Any]:
    shown = project.hermes("status", "--json", f"deployment.name={project.name}").stdout
    state: dict[str, Any] = json.loads(shown)["topics"][topic]
    return state


def submit(project: Project, cluster: Cluster, log: Path) -> subprocess.Popen[bytes]:
    """``ray job submit -- hermes serve``; again while Ray, which has only just started, runs no jobs yet."""

    def serving() -> subprocess.Popen[bytes] | None:
        words = (str(BIN / "ray"), "job", "submit", "--address", cluster.dashboard, "--working-dir", ".")
        with log.open("wb") as output:
            job = subprocess.Popen(
                [*words, "--", "hermes", "serve", "config=my.yaml"],
                cwd=project.directory, env=project.environment, stdout=output, stderr=output,
            )  # fmt: skip
        wait_until(lambda: "serving orders" in log.read_text() or job.poll() is not None, 60, "the job serves")
        return None if "No available agent" in log.read_text() else job

    job: subprocess.Popen[bytes] = wait_until(serving, 60, "Ray can run jobs")
    return job


def test_with_the_token_a_submitted_job_serves_and_every_message_is_handled(
    guarded: Cluster, project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("job") / "log"
    job = submit(project, guarded, log)
    try:
        assert job.poll() is None, log.read_text()
        confirmed = project.publish("orders", rate_hz=100, seconds=5)
        wait_until(lambda: not confirmed - set(project.handled("orders")), 60, "all are handled")
        assert state_of(project)["workers"]["observed"] >= 1
        assert "every worker drained" in project.hermes("stop", f"deployment.name={project.name}").stdout
        assert job.wait(PATIENCE * 30) == 0, log.read_text()
    finally:
        if job.poll() is None:
            job.kill()
            job.wait()


COMMANDS = (
    "serve config=my.yaml", "serve config=my.yaml detach=true", "apply config=my.yaml", "status", "status --json",
    "stop", "stop orders", "pause orders", "resume orders", "scale orders 3", "why orders", "decisions", "workers",
)  # fmt: skip


def strangers(directory: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Environments without the token, and what the sentence says of each."""
    wrong = directory / "wrong_token"
    wrong.write_text(secrets.token_hex(32))
    no_file = directory / "missing"
    yield (
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(wrong)},
        f"that in RAY_AUTH_TOKEN_PATH={wrong} is another",
    )
    yield {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}, "that in RAY_AUTH_TOKEN is another"
    yield {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": ""}, "there is no token in ~/.ray/auth_token"
    yield {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(no_file)}, f"RAY_AUTH_TOKEN_PATH={no_file}"
    yield {"RAY_AUTH_MODE": "disabled"}, "RAY_AUTH_MODE=disabled sends none"


def refuse(project: Project, command: str, settings: dict[str, str], reason: str) -> None:
    words = command.split()
    if "config=my.yaml" not in words:
        words.append(f"deployment.name={project.name}")
    done = project.hermes(*words, settings=settings, check=False, within_s=REFUSED_WITHIN_S)
    assert done.returncode == 2, f"{command}: {done.stdout}{done.stderr}"
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("hermes: ")
    assert reason in sentence
    assert "RAY_AUTH_MODE=token" in sentence
    assert done.stdout == ""


def test_without_the_token_every_command_is_refused_in_one_sentence_and_no_message_is_lost(project: Project) -> None:
    assert "is up and stays" in project.hermes("serve", "config=my.yaml", "detach=true", within_s=120).stdout
    before = state_of(project)["workers"]
    published = project.publishing("orders", rate_hz=50, seconds=30)
    (wrong, reason), *others = strangers(project.directory)
    for command in COMMANDS:
        refuse(project, command, wrong, reason)
    for settings, reason in others:
        refuse(project, "stop", settings, reason)
    confirmed = published()
    wait_until(lambda: not confirmed - set(project.handled("orders")), 60, "all are handled")
    after = state_of(project)
    assert after["workers"]["observed"] >= before["observed"] >= 1
    assert after["dead_lettered"] == 0
    assert "every worker drained" in project.hermes("stop", f"deployment.name={project.name}").stdout
