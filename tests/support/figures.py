"""Figures made by hand, each of them a different number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hermes_ray.core.conditions import Condition
from hermes_ray.core.model import Override, Snapshot, WorkerCounts
from hermes_ray.telemetry.figures import Figures, TopicCounts, TopicFigures
from tests.support.reports import counters, histogram

SNAPSHOT = Snapshot(
    topic="orders",
    at_s=1_700_000_000.0,
    ready_count=412,
    retrying_count=17,
    held_count=31,
    running_count=29,
    arrival_rate_hz=30.5,
    service_rate_hz=2.6,
    service_p95_s=3.9,
    wait_p95_s=8.7,
    oldest_age_s=9.4,
    finish_rate_hz=26.0,
    growth_rate_hz=-6.25,
    utilisation_ratio=0.91,
    longest_running_s=4.4,
    workers=WorkerCounts(observed=8, starting=5, draining=3),
)

COUNTERS = counters(
    received=1501,
    given_back=13,
    acked=1402,
    retried=43,
    dead_lettered_permanent=9,
    dead_lettered_attempts=6,
    stale=19,
    reconnects=2,
    finished=1456,
    finished_s=560.5,
    busy_s=577.75,
    wait_s=2101.5,
    service=histogram(0.3, 0.5),
    wait=histogram(0.01, 0.1, 1.5, 1.5),
    durations=(0, 0, 0, 1, 0, 10, 700, 300, 200, 200, 30, 10, 4, 0, 1),
)

ORDERS = TopicFigures(
    topic="orders",
    queue="shop.orders",
    snapshot=SNAPSHOT,
    target=14,
    slot_count=32,
    counters=COUNTERS,
    counts=TopicCounts(
        probe_failures=7,
        start_failures=10,
        deaths=11,
        decisions={"demand": 21, "workers_max": 12},
        ups=18,
        downs=15,
    ),
    effectiveness_ratio=0.83,
    report_lag_s=1.125,
    said=Override(pinned_count=14),
    conditions=frozenset({Condition.SATURATED, Condition.OBJECTIVE_AT_RISK}),
)

NEW = TopicFigures(topic="new", queue="new", snapshot=Snapshot(topic="new", at_s=1_700_000_000.0), target=None)


def figures_of(*topics: TopicFigures, at_s: float = 1_700_000_000.5) -> Figures:
    """A figures of these topics, of ``ORDERS`` and ``NEW`` without any."""
    return Figures(at_s=at_s, tick_s=0.0625, topics={topic.topic: topic for topic in topics or (ORDERS, NEW)})


def orders(**said: Any) -> TopicFigures:
    """``ORDERS`` with other figures."""
    return replace(ORDERS, **said)
