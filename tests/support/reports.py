"""Reports as workers send them, with the numbers a test cares about."""

from __future__ import annotations

from typing import Any

from hermes_ray.core.histogram import BUCKET_COUNT, DURATION_BUCKETS_S, bucket
from hermes_ray.worker.worker import REPORT_VERSION


def histogram(*values_s: float) -> tuple[int, ...]:
    """The histogram of these durations."""
    counts = [0] * BUCKET_COUNT
    for value_s in values_s:
        counts[bucket(value_s)] += 1
    return tuple(counts)


def report(worker: str, seq: int = 1, **said: Any) -> dict[str, Any]:
    """A report of a consuming worker that has done nothing, but for what is ``said``."""
    numbers = "held running received given_back acked retried dead_lettered_permanent dead_lettered_attempts"
    return {
        "version": REPORT_VERSION,
        "worker": worker,
        "topic": worker.rpartition("/")[0],
        "pid": 1,
        "seq": seq,
        "revision": "",
        "settings": "",
        "at_s": 0.0,
        "phase": "consuming",
        "node_id": "node",
        "concurrency": 4,
        "prefetch": 4,
        **dict.fromkeys((*numbers.split(), "finished", "reconnects", "killed"), 0),
        **dict.fromkeys(("longest_running_s", "finished_s", "busy_s", "wait_s"), 0.0),
        "service": histogram(),
        "wait": histogram(),
        "durations": (0,) * (len(DURATION_BUCKETS_S) + 1),
        "lost_reason": None,
    } | said
