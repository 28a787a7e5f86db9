"""One consistent look at a deployment, as it is on disk: what ``hermes status`` and ``/metrics`` both show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from hermes_ray.core.conditions import Condition
from hermes_ray.core.model import Override, Reason, Snapshot
from hermes_ray.worker.counters import Counters

__all__ = ["Figures", "PastDecision", "TopicCounts", "TopicFigures"]


class TopicCounts(Struct, frozen=True, kw_only=True):
    """What the scaler counts of one topic, over the whole life of the deployment on this cluster.

    ``decisions`` counts decisions that changed the target by reason, ``ups`` and ``downs`` by direction.
    """

    probe_failures: int = 0
    start_failures: int = 0
    deaths: int = 0
    ups: int = 0
    downs: int = 0
    decisions: dict[str, int] = {}


class PastDecision(Struct, frozen=True, kw_only=True, array_like=True):
    """A decision that changed a target, as it is remembered: ``limiters`` are (reason, before, after) in order.

    Written as an array: a new field comes last.
    """

    at_s: float
    before: int
    target: int
    reason: str
    limiters: tuple[tuple[str, int, int], ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFigures:
    """One topic. ``counters`` and ``counts`` never decrease, whatever becomes of workers and scaler.

    ``override`` is what rules instead of the policy; ``workers_max`` is what the configuration allows;
    ``single_active``: its queue serves one consumer at a time; ``slot_count`` are slots of consuming workers;
    ``outdated_count`` workers are of other code or settings than those applied last; ``report_lag_s`` is the age of the
    oldest last report of a living worker.
    """

    topic: str
    queue: str
    snapshot: Snapshot
    target: int | None
    workers_max: int = 0
    single_active: bool = False
    slot_count: int = 0
    outdated_count: int = 0
    counters: Counters = field(default_factory=Counters)
    counts: TopicCounts = field(default_factory=TopicCounts)
    effectiveness_ratio: float | None = None
    report_lag_s: float | None = None
    said: Override = field(default_factory=Override)
    conditions: frozenset[Condition] = frozenset()
    start_error: str | None = None
    depth_error: str | None = None
    last_decision: PastDecision | None = None

    @property
    def override(self) -> Reason | None:
        """What rules instead of the policy."""
        winner = self.said.winner(self.snapshot.at_s)
        return None if winner is None else winner[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All topics at ``at_s`` of the scaler's clock; the tick that made them took ``tick_s``.

    ``clock_offset_s`` is what the scaler's clock is ahead of the wall: ``at_s`` less this is Unix time.
    """

    at_s: float
    tick_s: float
    topics: Mapping[str, TopicFigures]
    clock_offset_s: float = 0.0
