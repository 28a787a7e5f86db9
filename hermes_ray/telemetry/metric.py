"""What a metric is: a name, its help, and how its value is read off figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

__all__ = ["Buckets", "Metric", "Value"]


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram: counts per upper bound and one beyond the last; all zeros where ``counts`` is empty."""

    bounds_s: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float


Value = float | Mapping[str, float] | Buckets | None
Of = TypeVar("Of")
UNITS = ("seconds", "hertz", "ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Generic[Of]):
    """One metric. ``read`` takes its value, None for unknown; with two labels, a value for each of the second.

    ``answers`` are the names by which others asked for this figure.
    """

    name: str
    help: str
    read: Callable[[Of], Value]
    kind: Literal["counter", "gauge", "histogram"] = "gauge"
    labels: tuple[str, ...] = ("topic",)
    answers: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The base unit the name ends in, empty for a plain number."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in UNITS else ""
