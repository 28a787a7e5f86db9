"""How many messages a load has sent by when: shapes and traces, pure; and the words in which one is described."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from hermes_ray.errors import UserMistake

__all__ = ["LOAD_WORDS", "SHAPES", "Load", "shaped_load", "trace_load"]

LOAD_WORDS = ("topic", "rate_hz", "seconds", "count", "shape", "trace", "body", "ids")
SHAPES = ("constant", "burst", "ramp", "sine")
BURST_FROM, BURST_TO, BURST_FACTOR = 0.4, 0.6, 5.0
SINE_SWING, SINE_PERIODS = 0.8, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Messages due over time: ``points`` are (seconds, cumulative messages), linear in between, both ascending."""

    points: tuple[tuple[float, float], ...]

    @property
    def seconds(self) -> float:
        """When the last message is due."""
        return self.points[-1][0]

    @property
    def total(self) -> float:
        """Messages in all before rounding; infinite where a trace's counts overflow."""
        return self.points[-1][1]

    @property
    def count(self) -> int:
        """Messages in all."""
        return round(self.total)

    def due_count(self, at_s: float) -> int:
        """Messages due by ``at_s``; of 10/s after 0.25 s: 2."""
        if at_s >= self.seconds:
            return self.count
        after = bisect_right(self.points, (at_s, math.inf))
        (from_s, low), (to_s, high) = self.points[after - 1], self.points[after]
        return int(low + (high - low) * (at_s - from_s) / (to_s - from_s) + 1e-9)


def shaped_load(shape: str, rate_hz: float, seconds: float) -> Load:
    """``rate_hz x seconds`` messages: evenly (constant); five times the quiet rate from 40 to 60 % of the time (burst);
    from nothing to twice the mean (ramp); two waves of +-80 % (sine).
    """
    total = rate_hz * seconds
    parts = {
        "constant": _line,
        "burst": _burst,
        "ramp": lambda part: part * part,
        "sine": _sine,
    }[shape]
    steps = 200
    return Load(points=tuple((seconds * n / steps, total * parts(n / steps)) for n in range(steps + 1)))


def trace_load(rows: Iterable[str], name: str) -> Load:
    """A load from CSV rows ``seconds,arrivals``: each count arrives evenly between the row before and this one.

    Raises ``UserMistake`` naming the line that is wrong. A header line is passed over.
    """
    points = [(0.0, 0.0)]
    for number, row in enumerate(rows, start=1):
        cells = row.strip().split(",")
        if cells == [""] or (number == 1 and not _is_number(cells[0])):
            continue
        if len(cells) != 2 or not all(map(_is_number, cells)):
            raise UserMistake(f"trace={name} line {number} is {row.strip()!r}: write seconds,arrivals, both >= 0")
        at_s, arrivals = map(float, cells)
        if arrivals < 0 or at_s < points[-1][0] or (at_s == points[-1][0] and at_s > 0):
            raise UserMistake(f"trace={name} line {number} is {row.strip()!r}: seconds must rise and arrivals be >= 0")
        if at_s == 0:
            points = [(0.0, 0.0), (1e-9, arrivals)]
        else:
            points.append((at_s, points[-1][1] + arrivals))
    if len(points) < 2:
        raise UserMistake(f"trace={name} holds no rows: write lines of seconds,arrivals")
    return Load(points=tuple(points))


def _line(part: float) -> float:
    return part


def _burst(part: float) -> float:
    burst = min(max(part - BURST_FROM, 0.0), BURST_TO - BURST_FROM)
    return (part + (BURST_FACTOR - 1) * burst) / (1 + (BURST_FACTOR - 1) * (BURST_TO - BURST_FROM))


def _sine(part: float) -> float:
    turns = 2 * math.pi * SINE_PERIODS
    return part + SINE_SWING * (1 - math.cos(turns * part)) / turns


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
