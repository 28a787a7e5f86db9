"""Everything a worker counts from its start on, and the arithmetic of such counts.

Each counter is declared once, by whoever counts it: settlements by the consumer, runs by the slots. What adds counters
up, remembers, exports or sends them goes through the fields and names none again.
"""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import Struct, field

from hermes_ray.broker.settlement_counts import SettlementCounts
from hermes_ray.core.histogram import BUCKET_COUNT, DURATION_BUCKETS_S, add, subtract

__all__ = ["Counters", "RunCounts", "plus", "since"]

Counts = TypeVar("Counts", bound=Struct)

_SHAPE = (BUCKET_COUNT, BUCKET_COUNT, len(DURATION_BUCKETS_S) + 1)


class RunCounts(Struct, frozen=True, kw_only=True, array_like=True):
    """Handler runs, cumulative.

    ``finished`` runs took ``finished_s`` together and fell into ``durations`` (one count per bucket of
    ``DURATION_BUCKETS_S`` and one beyond) and ``service`` (log buckets); ``wait`` and ``wait_s`` are of the runs whose
    publish time is known. ``busy_s`` includes running handlers. Written as an array: a new counter comes last.

    Raises ``ValueError`` for a histogram of other buckets than ours, which nothing of ours can be added to: decoders
    refuse it then, before a tick, and with it all topics, fails by it.
    """

    finished: int = 0
    finished_s: float = 0.0
    busy_s: float = 0.0
    wait_s: float = 0.0
    service: tuple[int, ...] = ()
    wait: tuple[int, ...] = ()
    durations: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.service), len(self.wait), len(self.durations))
        if any(size not in (0, ours) for size, ours in zip(shape, _SHAPE, strict=True)):
            raise ValueError(f"histograms of {shape} buckets are none of {_SHAPE}")


class Counters(Struct, frozen=True, kw_only=True):
    """All lifetime counters of one worker, or of all that a topic ever had."""

    settlements: SettlementCounts = field(default_factory=SettlementCounts)
    runs: RunCounts = RunCounts()
    reconnects: int = 0


def plus(left: Counts, right: Counts) -> Counts:
    """Both together."""
    return type(left)(**{name: _sum_of(getattr(left, name), getattr(right, name)) for name in left.__struct_fields__})


def since(later: Counts, earlier: Counts) -> Counts:
    """What came between two counts of one worker; never negative."""
    names = later.__struct_fields__
    return type(later)(**{name: _difference(getattr(later, name), getattr(earlier, name)) for name in names})


def _sum_of(left: Any, right: Any) -> Any:
    if isinstance(left, Struct):
        return plus(left, right)
    return add(left, right) if isinstance(left, tuple) else left + right


def _difference(later: Any, earlier: Any) -> Any:
    if isinstance(later, Struct):
        return since(later, earlier)
    return subtract(later, earlier) if isinstance(later, tuple) else max(0, later - earlier)
