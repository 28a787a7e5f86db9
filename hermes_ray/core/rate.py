"""The rate of first arrivals, from how many had arrived by when.

Counts err for a moment whenever messages move: down when workers have taken what no report shows yet, up when a dead
worker's messages are ready again while still counted as held. Both are shorter than 3 s, or a report interval, and the
true count never falls, so dips and bumps that short are ironed out before rates are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from operator import le
from typing import NamedTuple

from hermes_ray.core.looks import JITTER_S, LEAST_SPACING_S

__all__ = ["Counted", "arrival_rate_hz", "with_count"]

# The shortest windows grow with the report interval: within one there is nothing to be seen.
_WINDOWS = ((2.0, 1.0), (5.0, 1.0), (10.0, 1.0), (20.0, 1.0), (60.0, 3.0), (180.0, 3.0), (600.0, 3.0), (1_800.0, 3.0))
_KEPT_RATIO = 1.25
_BEYOND_S = 60.0
_MIN_SPAN_S = 1.0
_SPACING_INTERVALS = 0.08
_BLIP_S = 3.0
_FRESH_BLIPS = 2.0
_GAP_RATIO = 0.2
_MOST_SPAN_RATIO = 1.5
_SIGMAS = 3.0


class Counted(NamedTuple):
    """Messages that ever arrived, as counted at ``at_s``, and handler runs finished by then."""

    at_s: float
    arrived_count: float
    finished_count: int


def with_count(points: tuple[Counted, ...], point: Counted, *, report_interval_s: float = 1.0) -> tuple[Counted, ...]:
    """The points with a later one, oldest first; one later by less than 0.75 s, or 0.08 intervals, changes nothing.

    Points older than 2 blips are ironed for good and thinned to a fifth of their age apart, so that 55 of them reach
    back over 35 minutes.
    """
    spacing_s = max(LEAST_SPACING_S, _SPACING_INTERVALS * report_interval_s)
    if points and point.at_s < points[-1].at_s + spacing_s:
        return points
    blip_s = max(_BLIP_S, report_interval_s)
    fresh_s, oldest_s = point.at_s - _FRESH_BLIPS * blip_s, point.at_s - _KEPT_RATIO * _WINDOWS[-1][0]
    if points and fresh_s > points[0].at_s:
        points = _settled(points, fresh_s, blip_s)
    first = 0
    while first < len(points) and points[first].at_s < oldest_s:
        first += 1
    return (*_thinned(points[first:], fresh_s, point.at_s), point)


def arrival_rate_hz(
    points: Sequence[Counted], *, report_interval_s: float = 1.0, lag_s: float | None = None
) -> float | None:
    """Arrivals per second over the longest window that agrees with every shorter one; None before 1 s is covered.

    Agreeing: the shorter window's count is within 3 sigma (Poisson, of the mean of both) of what the longer one's rate
    makes of it, plus what ``lag_s`` (None: an interval) between the depths and the reports of a count can shift. 200/s
    for a minute expects 400 in 2 s, give or take 3 x 20 + 40 where the two are 0.2 s apart. Beyond a minute only where
    something came in the last one: a topic that is done is at 0 a minute, or a fifth more, after its last message.
    """
    if len(points) < 2 or points[-1].at_s - points[0].at_s < _MIN_SPAN_S:
        return None
    lag_s = report_interval_s if lag_s is None else lag_s
    counts = _ironed(points, max(_BLIP_S, report_interval_s))
    last = points[-1]
    rate_hz = 0.0
    shorter: list[tuple[float, float]] = []
    for start in _window_starts(points, report_interval_s):
        span_s = last.at_s - points[start].at_s
        if span_s <= 0.0:
            return None
        count = max(0.0, counts[-1] - counts[start])
        shift = lag_s * (last.finished_count - points[start].finished_count) / span_s
        if not all(_agrees(n, count / span_s * s, shift) for n, s in shorter):
            break
        rate_hz = count / span_s
        if count == 0.0 and span_s >= max(_BEYOND_S, _WINDOWS[4][1] * report_interval_s) - JITTER_S:
            break
        shorter.append((count, span_s))
    return rate_hz


def _window_starts(points: Sequence[Counted], report_interval_s: float) -> list[int]:
    """Where each window starts, shortest first; windows longer than the history wait until it covers them.

    All of a short history instead would count the quiet before the first message as part of the rate for a minute. A
    window that nobody looked into for a third of it and more says nothing of now.
    """
    starts: list[int] = []
    last_s, at, youngest = points[-1].at_s, len(points) - 1, len(points) - 1
    for window_s, intervals in _WINDOWS:
        least_s = max(window_s, intervals * report_interval_s)
        while at >= 0 and points[at].at_s > last_s - least_s + JITTER_S:
            at -= 1
        youngest = at + 1 if youngest == len(points) - 1 else youngest
        if at < 0:
            break
        if last_s - points[at].at_s > _MOST_SPAN_RATIO * least_s + JITTER_S:
            if window_s >= _BEYOND_S:
                break
        elif not starts or starts[-1] != at:
            starts.append(at)
    return starts or [youngest]


def _agrees(count: float, expected: float, shift: float) -> bool:
    return abs(count - expected) <= _SIGMAS * sqrt(max(1.0, (count + expected) / 2)) + shift


def _settled(points: tuple[Counted, ...], fresh_s: float, blip_s: float) -> tuple[Counted, ...]:
    """The same with ironed counts where nothing later can change them any more."""
    counts = _ironed(points, blip_s)
    return tuple(
        point if point.at_s > fresh_s or point.arrived_count == count else point._replace(arrived_count=count)
        for point, count in zip(points, counts, strict=True)
    )


def _thinned(points: Sequence[Counted], fresh_s: float, now_s: float) -> list[Counted]:
    """Fewer of them, the older the fewer; of two points that are too close the later goes."""
    kept: list[Counted] = []
    last = len(points) - 1
    for i, point in enumerate(points):
        if kept and i < last and point.at_s <= fresh_s:
            after_s = points[i + 1].at_s
            if after_s - kept[-1].at_s <= _GAP_RATIO * (now_s - after_s):
                continue
        kept.append(point)
    return kept


def _ironed(points: Sequence[Counted], blip_s: float) -> list[float]:
    """The counts without dips, then without bumps, shorter than ``blip_s``.

    Dips take the level before them at once; a bump at the end may be a burst, so it stands until the count falls
    back. This is a morphological closing followed by an opening: a count that never falls passes unchanged.
    """
    counts = [point.arrived_count for point in points]
    if all(map(le, counts, counts[1:])):
        return counts
    times = [point.at_s for point in points]
    level = _extreme(max, counts, times, blip_s, forwards=False)
    level = _extreme(min, level, times, blip_s, forwards=True)
    level = _extreme(min, level, times, blip_s, forwards=True)
    return _extreme(max, level, times, blip_s, forwards=False)


def _extreme(
    pick: Callable[[Sequence[float]], float],
    values: Sequence[float],
    times: Sequence[float],
    blip_s: float,
    *,
    forwards: bool,
) -> list[float]:
    """The extreme value within ``blip_s`` from each point, forwards or backwards in time."""
    result = []
    for i, at_s in enumerate(times):
        end = i
        if forwards:
            while end + 1 < len(times) and times[end + 1] <= at_s + blip_s:
                end += 1
            result.append(pick(values[i : end + 1]))
        else:
            while end > 0 and times[end - 1] >= at_s - blip_s:
                end -= 1
            result.append(pick(values[end : i + 1]))
    return result
