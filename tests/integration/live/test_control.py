"""A worker answers control calls whatever its handlers do to the interpreter."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray

from hermes_ray.cluster.client import Deployment
from tests.support.live import Cluster, Project, actors, wait_until
from tests.support.patience import PATIENCE

P95_PROMISE_S = 1.0
CALLS = 60


def test_ping_state_and_drain_answer_within_a_second_at_p95_with_8_spinning_threads_a_blocked_loop_or_64_waiting_slots(
    project: Project, cluster: Cluster, status: Callable[[], dict[str, Any]]
) -> None:
    handlers: dict[str, int] = {"Spinning": 8, "Blocking": 8, "Sync": 64}
    project.configure(
        {
            handler: {
                "handler": handler,
                "options": {"sleep_s": 5},
                "worker": {"concurrency": slots, "prefetch": slots},
                "workers": {"min": 1, "max": 1},
            }
            for handler, slots in handlers.items()
        },
    )
    with project.serving():
        wait_until(lambda: all(s["workers"]["observed"] == 1 for s in status().values()), 30, "three workers consume")
        names = [name for name in actors(cluster, project.name) if name != "scaler"]
        for handler, slots in handlers.items():
            ids = project.publish(handler, count=slots)
            name = next(name for name in names if name.startswith(handler))
            worker = ray.get_actor(name, namespace=project.name)
            running = 1 if handler == "Blocking" else slots
            wait_until(lambda: running_count(worker) == running, 20, "all slots are busy")  # noqa: B023
            took_s = [timed(worker.ping) if n % 2 else timed(worker.state) for n in range(CALLS)]
            assert sorted(took_s)[int(0.95 * CALLS)] <= P95_PROMISE_S, (handler, sorted(took_s)[-8:])
            assert timed(worker.drain) <= 5 * P95_PROMISE_S
            wait_until(lambda: project.handled(handler).total() >= running, 60, "what ran was finished")  # noqa: B023
            assert project.handled(handler).keys() <= ids
        Deployment.find(project.name).stop(kill=True)


def running_count(worker: Any) -> int:
    count: int = ray.get(worker.running_count.remote())
    return count


def timed(method: Any) -> float:
    started_s = time.monotonic()
    ray.get(method.remote(), timeout=PATIENCE * 30)
    return time.monotonic() - started_s
