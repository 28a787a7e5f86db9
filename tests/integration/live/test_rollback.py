"""Back to the former code, which only Ray has a copy of any more."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.head import ray_head
from tests.support.live import BIN, Cluster, Project, wait_until

GOOD = '''
import os

class Handler:
    """Writes the version of the code that handled a message."""

    def __init__(self, ledger):
        self.file = os.open(f"{ledger}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, message):
        os.write(self.file, f"{message.id} good\\n".encode())
'''
FAILS_ON_MESSAGES = """
class Handler:
    def __init__(self, ledger):
        pass

    def __call__(self, message):
        raise RuntimeError("this code handles nothing")
"""
# The preflight is the first to build it: what a database that takes one connection does to a roll-out. Each try has a
# name of its own: canaries of the one before are started until the next one has taken over.
FAILS_ON_START = """
import os

class Handler:
    def __init__(self, ledger):
        os.close(os.open(f"{ledger}-built-once", os.O_CREAT | os.O_EXCL))

    def __call__(self, message):
        pass
"""
WORKERS = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Ray that keeps what nobody refers to for 5 s only."""
    with ray_head(64, {}, {"RAY_RUNTIME_ENV_TEMPORARY_REFERENCE_EXPIRATION_S": "5"}) as head:
        yield head


@pytest.fixture
def project(cluster: Cluster, tmp_path: Path, vhost: str, vhost_url: str) -> Iterator[Project]:
    """A user's project in ``checkout/`` of its directory; what it leaves running is stopped."""
    project = Project(tmp_path, vhost_url, vhost, cluster.environment)
    (tmp_path / "checkout").mkdir()
    yield project
    project.hermes("stop", f"deployment.name={project.name}", check=False)


def submit(project: Project, cluster: Cluster, code: str, **settings: Any) -> str:
    """``hermes apply`` as a job with a copy of ``code``; returns what it printed."""
    topic = {"handler": "orders:Handler", "workers": {"min": WORKERS, "max": WORKERS}, **settings}
    topic["options"] = {"ledger": str(project.directory / "ledger.work")}
    checkout = project.directory / "checkout"
    (checkout / "orders.py").write_text(code)
    whole = {"deployment": {"name": project.name}, "metrics": {"port": 0}, "topics": {"work": topic}}
    (checkout / "my.yaml").write_text(json.dumps(whole))
    words = ("hermes", "apply", "config=my.yaml", f"broker.url={project.url}")
    job = (str(BIN / "ray"), "job", "submit", "--address", cluster.dashboard, "--working-dir", str(checkout), "--")
    return project.run(*job, *words, within_s=120, check=False).stdout


def status(project: Project) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(project.hermes("status", f"deployment.name={project.name}", "--json").stdout)
    return whole


def has_rolled(project: Project) -> bool:
    """Whether all workers are of the plan applied last, and those of another are gone."""
    work = status(project)["topics"]["work"]
    workers = work["workers"]
    return (work["outdated"], workers["observed"], workers["starting"], workers["draining"]) == (0, WORKERS, 0, 0)


def workers(project: Project) -> dict[str, Any]:
    rows = json.loads(project.hermes("workers", f"deployment.name={project.name}", "--json").stdout)
    return {row["worker"]: row for row in rows}


def rollback(project: Project, *before: str) -> str:
    """``hermes rollback``, given in the directory of the code that is to be left; returns what it printed."""
    words = (*before, "hermes", "rollback", f"deployment.name={project.name}")
    return project.run("env", "-C", str(project.directory / "checkout"), *words).stdout


def all_handled(project: Project, ids: set[str], what: str) -> None:
    wait_until(lambda: ids <= project.handled("work").keys(), 30, what)


@pytest.mark.slow
def test_code_whose_canaries_fail_leaves_the_old_working_and_a_rollback_ends_the_attempt(
    project: Project, cluster: Cluster
) -> None:
    assert "is up and stays" in submit(project, cluster, GOOD)
    wait_until(lambda: has_rolled(project), 60, "all workers are up")
    before = workers(project)
    assert "(rolling)" in submit(project, cluster, FAILS_ON_START, weight=5)
    wait_until(lambda: status(project)["topics"]["work"]["start_error"], 60, "a canary has failed")
    assert workers(project).keys() >= before.keys(), "the old ones stay"
    all_handled(project, project.publish("work", count=40), "the old ones work on")
    said = project.hermes("status", f"deployment.name={project.name}").stdout
    assert f"the roll-out stands still, new workers of work do not start; {WORKERS} former workers work on" in said
    assert "hermes rollback goes back to what was applied" in said

    again = FAILS_ON_START.replace("-once", "-twice")  # what never worked is not gone back to
    assert "(rolling)" in submit(project, cluster, again, weight=6)
    *survivors, victim = before
    os.kill(before[victim]["pid"], signal.SIGKILL)
    wait_until(lambda: status(project)["topics"]["work"]["outdated"] == len(survivors), 60, "an old one has died")
    said = rollback(project)
    assert "changed topics.work.weight: 6.0 -> 1.0 (live)" in said
    assert "changed the code (rolling)" in said
    wait_until(lambda: has_rolled(project), 60, "all workers are of the former code")
    assert workers(project).keys() >= set(survivors), "those that were there stay, one takes the place of the dead"
    all_handled(project, project.publish("work", count=40), "messages are handled")
    assert "stands still" not in project.hermes("status", f"deployment.name={project.name}").stdout


@pytest.mark.slow
def test_code_that_fails_at_its_messages_is_left_for_a_copy_that_only_ray_has(
    project: Project, cluster: Cluster
) -> None:
    submit(project, cluster, GOOD)
    wait_until(lambda: has_rolled(project), 60, "all workers are up")
    before = workers(project)
    # Retries come back until after the rollback.
    submit(project, cluster, FAILS_ON_MESSAGES, retry={"base_delay_s": 2, "max_delay_s": 2, "max_attempts": 90})
    wait_until(lambda: has_rolled(project), 90, "the bad code is in")
    bad = workers(project)
    assert not before.keys() & bad.keys()
    ids = project.publish("work", count=20)
    wait_until(lambda: status(project)["topics"]["work"]["retried"] >= 20, 30, "it fails at its messages")

    assert "changed the code (rolling)" in rollback(project)
    wait_until(lambda: has_rolled(project), 90, "the good code is back")
    assert not bad.keys() & workers(project).keys()
    all_handled(project, ids, "the good code handles what the bad one could not")

    assert "changed the code (rolling)" in rollback(project), "once more: forward"
    job = ("ray", "job", "submit", "--address", cluster.dashboard, "--working-dir", ".", "--")
    assert "changed the code (rolling)" in rollback(project, *job), "and back, as a job with the bad code beside it"
    wait_until(lambda: has_rolled(project), 90, "the good code is back again")
    all_handled(project, project.publish("work", count=40), "it handles messages")


def test_code_that_was_read_from_a_directory_has_no_copy_to_go_back_to(project: Project) -> None:
    project.configure({"work": {"handler": "Sync", "workers": {"min": 1}}}, metrics={"port": 0})
    name = f"deployment.name={project.name}"
    refused = project.hermes("rollback", name, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    project.hermes("apply", "config=my.yaml")
    refused = project.hermes("rollback", name, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "nothing is known of what ran before" in refused.stderr
    handlers = project.directory / "handlers.py"
    handlers.write_text(handlers.read_text() + "\nVERSION = 2\n")
    project.hermes("apply", "config=my.yaml")
    refused = project.hermes("rollback", name, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert f"its former code was read from {project.directory}, of which there is no copy" in refused.stderr
