"""Reports as workers send them, with the numbers a test cares about."""

from __future__ import annotations

from typing import Any

from hermes_ray.core.histogram import BUCKET_COUNT, bucket
from hermes_ray.runtime.worker import REPORT_VERSION


def histogram(*values_s: float) -> tuple[int, ...]:
    """The histogram of these durations."""
    counts = [0] * BUCKET_COUNT
    for value_s in values_s:
        counts[bucket(value_s)] += 1
    return tuple(counts)


def report(worker: str, seq: int = 1, **said: Any) -> dict[str, Any]:
    """A report of a consuming worker that has done nothing, but for what is ``said``."""
    numbers = ("held", "running", "received", "given_back", "acked", "retried", "dead_lettered")
    return {
        "version": REPORT_VERSION,
        "worker": worker,
        "topic": worker.rpartition("/")[0],
        "pid": 1,
        "seq": seq,
        "at_s": 0.0,
        "phase": "consuming",
        "node_id": "node",
        "concurrency": 4,
        "prefetch": 4,
        **dict.fromkeys(numbers, 0),
        "longest_running_s": 0.0,
        "finished": 0,
        "busy_s": 0.0,
        "service": histogram(),
        "wait": histogram(),
        "reconnects": 0,
        "lost_reason": None,
        "killed": 0,
    } | said
