"""Workers that have lost their scaler: found, drained, and what that scaler left on disk made good."""

from __future__ import annotations

import contextlib
import time

from msgspec import structs

from hermes_ray.cluster.worker_pool import RayWorkerPool
from hermes_ray.config.settings import Config
from hermes_ray.scaler.checkpoint import Checkpoint, checkpoint_path
from hermes_ray.scaler.memory import Changes, without_overrides

__all__ = ["drain_without_scaler", "forget_overrides", "orphans"]

LOOK_S = 0.2
ENDING_S = 15.0  # after its deadline a worker ends by itself


def orphans(name: str) -> list[str]:
    """The workers of a deployment that has lost its scaler."""
    return sorted(RayWorkerPool(name).living())


def forget_overrides(config: Config) -> None:
    """Take pauses and pins out of what a scaler that is gone has left, if that is on this machine."""
    checkpoint = Checkpoint(checkpoint_path(config.state_dir, config.broker.urls, config.deployment.name))
    with contextlib.closing(checkpoint), contextlib.suppress(OSError):
        if (memory := checkpoint.read()) is not None:
            ended = Changes(
                header=memory.header,
                is_whole=True,
                topics=without_overrides(memory.topics),
                learnt={topic: structs.replace(past, policy=None) for topic, past in memory.learnt.items()},
                workers=list(memory.workers.values()),
            )
            checkpoint.write(ended)


def drain_without_scaler(name: str, timeout_s: float) -> int:
    """Drain the workers of a deployment that has lost its scaler; returns the handlers that this cut short.

    A worker that does not answer counts as one: its message goes back when its process ends, which is waited for.
    """
    pool = RayWorkerPool(name)
    deadline_s = time.monotonic() + timeout_s
    for worker in pool.living():
        pool.drain(worker, timeout_s)
    running_count = 0
    while (left := pool.living()) and time.monotonic() < deadline_s + ENDING_S:
        if time.monotonic() > deadline_s - 2 * LOOK_S and not running_count:
            running_count = sum(map(pool.running_count, left))
        time.sleep(LOOK_S)
    ended_count = sum([pool.end(worker) for worker in left])
    deadline_s = time.monotonic() + ENDING_S
    while pool.living() and time.monotonic() < deadline_s:
        time.sleep(LOOK_S)
    return max(running_count, ended_count)
