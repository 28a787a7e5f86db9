"""Processes die under load: every confirmed message is handled."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.live import Cluster, Project, actors, wait_until


def kill_9(cluster: Cluster, project: Project, *, scaler: bool, worker: bool) -> None:
    living = wait_until(lambda: actors(cluster, project.name), 20, "actors are listed")
    names = [name for name in living if (name == "scaler" and scaler) or (name != "scaler" and worker)]
    chosen = names if scaler and worker else names[:1]
    assert chosen
    for name in chosen:
        os.kill(living[name].pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("scaler", "worker"), [(False, True), (True, False), (True, True)], ids=["worker", "scaler", "both"]
)
def test_every_confirmed_message_is_handled_although_processes_are_killed(
    project: Project, cluster: Cluster, status: Callable[[], dict[str, Any]], scaler: bool, worker: bool
) -> None:
    project.configure(
        {
            "work": {
                "handler": "Sync",
                "options": {"sleep_s": 0.02},
                "latency_objective_s": 5,
                "worker": {"concurrency": 4},
                "workers": {"min": 2, "max": 4},
            }
        }
    )
    with project.serving():
        wait_until(lambda: status()["work"]["workers"]["observed"] >= 2, 30, "two workers consume")
        publishing = project.publishing("work", rate_hz=200, seconds=8)
        wait_until(lambda: project.handled("work").total() > 200, 20, "messages are being handled")
        kill_9(cluster, project, scaler=scaler, worker=worker)
        confirmed = publishing()
        assert len(confirmed) == 1600
        wait_until(lambda: not confirmed - project.handled("work").keys(), 60, "every confirmed id is handled")
        wait_until(lambda: status()["work"]["workers"]["observed"] >= 2, 30, "the pool is whole again")
        assert set(project.attempts("work")) == {"1"}, "an interruption uses no attempt"
        assert project.handled("work").total() - len(confirmed) <= 4 * 200, "only what the dead held is repeated"
