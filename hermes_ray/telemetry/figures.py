"""One consistent look at a deployment, as it is on disk: what ``hermes status`` and ``/metrics`` both show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hermes_ray.core.conditions import Condition
from hermes_ray.core.model import Reason, Snapshot
from hermes_ray.worker.counters import Counters

__all__ = ["Figures", "TopicFigures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFigures:
    """One topic. ``counters`` and the counts never decrease, whatever becomes of workers and scaler.

    ``decisions`` counts decisions that changed the target by reason, ``ups`` and ``downs`` by direction;
    ``override`` is what rules instead of the policy; ``slot_count`` are slots of consuming workers;
    ``report_lag_s`` is the age of the oldest last report of a living worker.
    """

    topic: str
    queue: str
    snapshot: Snapshot
    target: int | None
    slot_count: int = 0
    counters: Counters = field(default_factory=Counters)
    probe_failures: int = 0
    start_failures: int = 0
    deaths: int = 0
    decisions: Mapping[str, int] = field(default_factory=dict)
    ups: int = 0
    downs: int = 0
    effectiveness_ratio: float | None = None
    report_lag_s: float | None = None
    override: Reason | None = None
    conditions: frozenset[Condition] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All topics at ``at_s`` (Unix seconds); the tick that made it took ``tick_s``."""

    at_s: float
    tick_s: float
    topics: Mapping[str, TopicFigures]
