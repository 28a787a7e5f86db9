"""Workers that hang are replaced and ended, and actors that are not ours are left alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray

from hermes_ray.cluster.client import Deployment
from hermes_ray.cluster.scalers import deployment_names
from tests.support.live import Cluster, Project, actors, wait_until

Status = Callable[[], dict[str, Any]]


class Stranger:
    """Somebody else's actor, called like a worker of ours."""

    def ping(self) -> str:
        return "here"


@contextmanager
def stranger(namespace: str, name: str) -> Iterator[Any]:
    made: Any = ray.remote(Stranger)
    actor = made.options(name=name, namespace=namespace, lifetime="detached", num_cpus=0).remote()
    try:
        ray.get(actor.ping.remote())
        yield actor
    finally:
        ray.kill(actor)


def test_a_foreign_actor_is_neither_counted_nor_drained_nor_killed_whatever_it_is_called(
    project: Project, cluster: Cluster, status: Status
) -> None:
    project.configure({"work": {"handler": "Sync", "workers": {"min": 1, "max": 2}}})
    names = ("work/0123abcd", "gone/89abcdef", "scaler/2", "work/0123ABCD", "a")
    strangers = [stranger(project.name, name) for name in names]
    for each in strangers:
        each.__enter__()
    with project.serving():
        wait_until(lambda: status()["work"]["workers"]["observed"] == 1, 40, "a worker consumes")
        assert status()["work"]["workers"]["draining"] == 0
        confirmed = project.publish("work", count=20)
        wait_until(lambda: not confirmed - project.handled("work").keys(), 30, "all is handled")
    living = actors(cluster, project.name)
    assert set(names) <= living.keys(), "the end of the deployment ends none of them"
    for each in strangers:
        each.__exit__(None, None, None)


@pytest.mark.slow
def test_a_stopped_process_is_killed_after_its_time_and_replaced(
    project: Project, cluster: Cluster, status: Status
) -> None:
    project.configure(
        {"work": {"handler": "Sync", "workers": {"min": 2, "max": 2}, "worker": {"silent_timeout_s": 25}}},
    )
    with project.serving():
        wait_until(lambda: status()["work"]["workers"]["observed"] == 2, 40, "two workers consume")
        before = {name: actor.pid for name, actor in actors(cluster, project.name).items() if name != "scaler"}
        name, pid = next(iter(before.items()))
        os.kill(pid, signal.SIGSTOP)
        rows = wait_until(
            lambda: [row for row in project_workers(project) if row["worker"] == name and row["why"]],
            20,
            "its silence is said",
        )
        assert rows[0]["why"].startswith("silent for")
        wait_until(lambda: "unresponsive" in status()["work"]["conditions"], 10, "the topic says so")
        # After 20 s Ray has lost its connection to the process, and its own kill does not reach it any more.
        wait_until(lambda: name not in actors(cluster, project.name), 60, "it is killed")
        wait_until(lambda: not is_running(pid), 60, "its process ends")
        wait_until(lambda: status()["work"]["workers"]["observed"] == 2, 40, "another one works in its place")
        confirmed = project.publish("work", count=20)
        wait_until(lambda: not confirmed - project.handled("work").keys(), 30, "all is handled")


def test_workers_whose_handlers_hang_are_replaced_and_every_message_is_handled(
    project: Project, status: Status
) -> None:
    worker = {"timeout_s": 1.5, "concurrency": 4}
    topic = {"handler": "Hanging", "options": {"fail_ratio": 0.1}, "retry": {"base_delay_s": 0.1}}
    project.configure({"work": {**topic, "workers": {"min": 2, "max": 2}, "worker": worker}})
    with project.serving():
        wait_until(lambda: status()["work"]["workers"]["observed"] == 2, 40, "two workers consume")
        before = {row["worker"] for row in project_workers(project)}
        confirmed = project.publish("work", count=60)
        wait_until(lambda: not confirmed - project.handled("work").keys(), 120, "all is handled")
        assert project.attempts("work")["2"] > 0, "some have hung"
        wait_until(lambda: status()["work"]["workers"]["observed"] == 2, 60, "others work in their place")
        wait_until(
            lambda: before - {row["worker"] for row in project_workers(project)}, 60, "those that hung have ended"
        )
        assert "start_failing" not in status()["work"]["conditions"]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def project_workers(project: Project) -> list[dict[str, Any]]:
    return list(Deployment.find(project.name).workers())


def test_a_foreign_actor_called_as_the_scaler_is_named_and_left_alone(project: Project) -> None:
    project.configure({"work": {"handler": "Sync"}})
    with stranger(project.name, "scaler") as theirs:
        for command in (["apply", "config=my.yaml"], ["stop", f"deployment.name={project.name}"]):
            refused = project.hermes(*command, check=False)
            assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused
            assert f"the actor 'scaler' in the Ray namespace {project.name} is a {Stranger.__module__}.Stranger" in (
                refused.stderr
            )
        assert project.name not in deployment_names()
        assert ray.get(theirs.ping.remote()) == "here"
