"""Processes die under load: every confirmed message is handled."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_ray.cluster.client import Deployment
from tests.support.live import Cluster, Project, actors, wait_until

RATE_HZ, SECONDS = 200, 15
PREFETCH = 100


def test_every_confirmed_message_is_handled_although_a_worker_the_scaler_and_then_both_are_killed(
    project: Project, cluster: Cluster, status: Callable[[], dict[str, Any]]
) -> None:
    project.configure(
        {
            "work": {
                "handler": "Sync",
                "options": {"sleep_s": 0.02},
                "latency_objective_s": 5,
                "worker": {"concurrency": 4, "prefetch": PREFETCH},
                "workers": {"min": 2, "max": 3},
            }
        }
    )

    def whole() -> dict[str, Any] | bool:
        living = actors(cluster, project.name)
        return living if "scaler" in living and status()["work"]["workers"]["observed"] >= 2 else False

    with project.serving():
        wait_until(whole, 30, "two workers consume")
        publishing = project.publishing("work", rate_hz=RATE_HZ, seconds=SECONDS)
        killed_workers = 0
        survivors: set[str] = set()
        for scaler, worker in ((False, True), (True, False), (True, True)):
            handled = project.handled("work").total()
            wait_until(lambda: project.handled("work").total() > handled + RATE_HZ, 30, "messages are handled")  # noqa: B023
            living = wait_until(whole, 40, "the deployment is whole again")
            assert survivors <= living.keys(), "a restarted scaler adopts the living workers"
            workers = [name for name in living if name != "scaler"]
            chosen = ["scaler"] * scaler + workers[: (len(workers) if scaler else 1) * worker]
            killed_workers += len(chosen) - scaler
            survivors = living.keys() - set(chosen) - {"scaler"}
            for name in chosen:
                os.kill(living[name].pid, signal.SIGKILL)
        confirmed = publishing()
        assert len(confirmed) == RATE_HZ * SECONDS
        wait_until(lambda: not confirmed - project.handled("work").keys(), 60, "every confirmed id is handled")
        wait_until(whole, 40, "the pool is whole at the end")
        assert set(project.attempts("work")) == {"1"}, "an interruption uses no attempt"
        repeated = project.handled("work").total() - len(confirmed)
        assert repeated <= killed_workers * PREFETCH, "only what the dead held is repeated"


@pytest.mark.usefixtures("ended")
@pytest.mark.slow
def test_a_scaler_that_stands_still_is_replaced_with_its_process_and_what_that_held(
    project: Project, cluster: Cluster
) -> None:
    project.configure({"work": {"handler": "Sync", "workers": {"min": 1}}}, state_dir=str(project.directory / "state"))
    project.hermes("apply", "config=my.yaml")
    pid = actors(cluster, project.name)["scaler"].pid
    os.kill(pid, signal.SIGSTOP)
    said = project.hermes("apply", "config=my.yaml", "topics.work.weight=2", within_s=150).stdout
    assert f"the scaler of {project.name} did not answer: it was killed, another takes over" in said
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 60, "its process is gone")
    assert Deployment.find(project.name).status()["warnings"] == [], "the checkpoint is the new one's"
