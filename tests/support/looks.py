"""Looks at a topic, second by second: what tests of the estimate see."""

from __future__ import annotations

from collections.abc import Callable

from hermes_ray.core.estimate import History, observe, snapshot
from hermes_ray.core.histogram import BUCKET_COUNT, bucket
from hermes_ray.core.model import Probe, Snapshot, Totals, WorkerCounts

NOBODY = WorkerCounts()


def watch(
    seconds: range,
    probe: Callable[[float], Probe | None],
    totals: Callable[[float], Totals],
    history: History | None = None,
) -> History:
    history = history or History()
    for second in seconds:
        history = observe(history, probe(float(second)), totals(float(second)), float(second))
    return history


def see(history: History, now_s: float) -> Snapshot:
    return snapshot(history, "t", NOBODY, now_s)


def ready(count: Callable[[float], float]) -> Callable[[float], Probe]:
    return lambda at_s: Probe(at_s=at_s, ready_count=int(count(at_s)), dead_count=2)


def idle(_: float) -> Totals:
    return Totals()


def durations(*values_s: float) -> tuple[int, ...]:
    counts = [0] * BUCKET_COUNT
    for value_s in values_s:
        counts[bucket(value_s)] += 1
    return tuple(counts)
