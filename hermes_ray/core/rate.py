"""The rate of first arrivals, from how many had arrived by when.

Counts err for a moment whenever messages move: down when workers have taken what no report shows yet, up when a dead
worker's messages are ready again while still counted as held. Both are shorter than 3 s and the true count never
falls, so dips and bumps that short are ironed out before rates are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

__all__ = ["Counted", "arrival_rate_hz"]

_RATE_WINDOWS_S = (2.0, 5.0, 10.0, 20.0, 60.0)
_MIN_SPAN_S = 1.0
_JITTER_S = 0.25  # looks are not exactly a second apart
_BLIP_S = 3.0
_SIGMAS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Messages that ever arrived, as counted at ``at_s``, handler runs finished by then, and how far apart in time
    the depth and the totals of the count may lie.
    """

    at_s: float
    count: float
    finished_count: int
    lag_s: float


def arrival_rate_hz(points: Sequence[Counted]) -> float | None:
    """Arrivals per second over the longest window that agrees with every shorter one; None before 1 s is covered.

    Agreeing: the shorter window's count is within 3 sigma (Poisson) of what the longer one's rate makes of it, plus
    what the lag between depths and reports can shift. 200/s for a minute expects 400 in 2 s, give or take 3 x 20 + 40
    where the two are of one moment.
    """
    if len(points) < 2 or points[-1].at_s - points[0].at_s < _MIN_SPAN_S:
        return None
    counts = _ironed(points)
    rate_hz = 0.0
    shorter: list[tuple[float, float]] = []
    for start in _window_starts(points):
        span_s = points[-1].at_s - points[start].at_s
        count = max(0.0, counts[-1] - counts[start])
        shift = points[-1].lag_s * (points[-1].finished_count - points[start].finished_count) / span_s
        if not all(_agrees(n, count / span_s * s, shift) for n, s in shorter):
            break
        rate_hz = count / span_s
        shorter.append((count, span_s))
    return rate_hz


def _window_starts(points: Sequence[Counted]) -> list[int]:
    """Where each window starts, shortest first; windows longer than the history wait until it covers them.

    All of a short history instead would count the quiet before the first message as part of the rate for a minute.
    """
    starts: list[int] = []
    for window_s in _RATE_WINDOWS_S:
        since_s = points[-1].at_s - window_s + _JITTER_S
        covered = [i for i, point in enumerate(points) if point.at_s <= since_s]
        if covered and covered[-1] not in starts:
            starts.append(covered[-1])
    return starts or [0]


def _agrees(count: float, expected: float, shift: float) -> bool:
    return abs(count - expected) <= _SIGMAS * sqrt(max(1.0, expected)) + shift


def _ironed(points: Sequence[Counted]) -> list[float]:
    """The counts without dips, then without bumps, shorter than 3 s.

    Dips take the level before them at once; a bump at the end may be a burst, so it stands until the count falls
    back. This is a morphological closing followed by an opening: a count that never falls passes unchanged.
    """
    times = [point.at_s for point in points]
    level = _extreme(max, [point.count for point in points], times, forwards=False)
    level = _extreme(min, level, times, forwards=True)
    level = _extreme(min, level, times, forwards=True)
    return _extreme(max, level, times, forwards=False)


def _extreme(
    pick: Callable[[Sequence[float]], float], values: Sequence[float], times: Sequence[float], *, forwards: bool
) -> list[float]:
    """The extreme value within 3 s from each point, forwards or backwards in time."""
    result = []
    for i, at_s in enumerate(times):
        end = i
        if forwards:
            while end + 1 < len(times) and times[end + 1] <= at_s + _BLIP_S:
                end += 1
            result.append(pick(values[i : end + 1]))
        else:
            while end > 0 and times[end - 1] >= at_s - _BLIP_S:
                end -= 1
            result.append(pick(values[end : i + 1]))
    return result
