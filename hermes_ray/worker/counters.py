"""What workers count from their start on, added up over all a topic ever had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hermes_ray.core.histogram import add, subtract

__all__ = ["Counters", "plus", "since"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Cumulative; each field is a key of a worker's report.

    ``finished`` handler runs took ``finished_s`` together and fell into ``durations`` (one count per bucket of
    ``DURATION_BUCKETS_S`` and one beyond) and ``service`` (log buckets); ``wait`` and ``wait_s`` are of the runs whose
    publish time is known. ``busy_s`` includes running handlers.
    """

    received: int = 0
    given_back: int = 0
    acked: int = 0
    retried: int = 0
    dead_lettered_permanent: int = 0
    dead_lettered_attempts: int = 0
    reconnects: int = 0
    finished: int = 0
    finished_s: float = 0.0
    busy_s: float = 0.0
    wait_s: float = 0.0
    service: tuple[int, ...] = ()
    wait: tuple[int, ...] = ()
    durations: tuple[int, ...] = ()

    @property
    def dead_lettered(self) -> int:
        return self.dead_lettered_permanent + self.dead_lettered_attempts

    @property
    def settled(self) -> int:
        """Deliveries gone for good."""
        return self.acked + self.dead_lettered


_KEYS = tuple(entry.name for entry in fields(Counters))


def of_report(report: Mapping[str, Any]) -> Counters:
    """The counts of one report; what it does not know is zero."""
    said: dict[str, Any] = {key: report[key] for key in _KEYS if report.get(key)}
    said |= {key: tuple(value) for key, value in said.items() if isinstance(value, list)}
    return Counters(**said)


def plus(left: Counters, right: Counters) -> Counters:
    """Both together."""
    return Counters(**{key: _plus(getattr(left, key), getattr(right, key)) for key in _KEYS})


def since(later: Counters, earlier: Counters) -> Counters:
    """What came between two counts of one worker; never negative."""
    return Counters(**{key: _since(getattr(later, key), getattr(earlier, key)) for key in _KEYS})


def _plus(left: Any, right: Any) -> Any:
    return add(left, right) if isinstance(left, tuple) else left + right


def _since(later: Any, earlier: Any) -> Any:
    return subtract(later, earlier) if isinstance(later, tuple) else max(0, later - earlier)
