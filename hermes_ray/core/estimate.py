"""From depth probes and worker totals to a snapshot: how fast messages arrive, how fast slots work, how long waits are.

``observe`` folds what is seen into a ``History``; ``snapshot`` reads it. First arrivals are counted at the boundary
of everything we know of, ``ready + retrying + held + left``: a retry moves inside it and is not counted again. Totals
are up to a report interval older than depths, so this count errs for a moment whenever messages move: down when
workers have taken what no report shows yet, up when a dead worker's messages are ready again while still counted as
held. Both are shorter than 3 s and the true count never falls, so dips and bumps that short are ironed out before
rates are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

from hermes_ray.core.histogram import quantile, subtract
from hermes_ray.core.model import Arrived, Probe, Snapshot, Totals, WorkerCounts

__all__ = ["PROBE_TTL_S", "History", "observe", "snapshot"]

PROBE_TTL_S = 10.0

_RATE_WINDOWS_S = (2.0, 5.0, 10.0, 20.0, 60.0)
_RECENT_S = 60.0
_KEEP_S = 75.0
_MIN_SPACING_S = 0.75  # keeps a history within 100 points however often it is fed
_MIN_SPAN_S = 1.0
_JITTER_S = 0.25  # ticks are not exactly a second apart
_REPORT_LAG_S = 1.0
_ALIGNED_LAG_S = 0.2  # reports are interpolated as if work flowed evenly between them
_BLIP_S = 3.0
_SIGMAS = 3.0
_ENOUGH_RUNS = 20
_MIN_RUN_S = 1e-6
_TAIL_RATIO = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrived:
    """Messages that ever arrived, as counted at ``at_s``, handler runs finished by then, and how far apart in time
    the depth and the totals of the count may lie.
    """

    at_s: float
    count: float
    finished_count: int
    lag_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worked:
    at_s: float
    totals: Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is remembered of one topic: a bit more than the last minute, and the last 20 to 40 handler runs.

    ``runs_since`` are the totals before those runs, ``runs_mark`` those it moves on to once 20 more have finished.
    """

    probe: Probe | None = None
    arrived: tuple[_Arrived, ...] = ()
    arrival_rate_hz: float | None = None
    worked: tuple[_Worked, ...] = ()
    totals: Totals | None = None
    runs_since: Totals = Totals()
    runs_mark: Totals = Totals()


def observe(
    history: History, probe: Probe | None, totals: Totals, now_s: float, aligned: Arrived | None = None
) -> History:
    """The history after what was seen now. ``probe`` is None when the broker gave no answer; repeats are harmless.

    ``aligned`` counts arrivals for a moment that both a probe and the reports cover. Without it the fresh depth is put
    beside totals of up to a report interval ago, which errs by what moved in between.
    """
    counted, lag_s = (aligned, _ALIGNED_LAG_S) if aligned else (_beside(probe, totals, now_s), _REPORT_LAG_S)
    arrived = history.arrived
    if counted is not None:
        finished = totals.finished_count
        point = _Arrived(at_s=counted.at_s, count=counted.count, finished_count=finished, lag_s=lag_s)
        arrived = _with_point(arrived, point)
    arrived = tuple(point for point in arrived if point.at_s >= now_s - _KEEP_S)
    since, mark = history.runs_since, history.runs_mark
    if totals.finished_count - mark.finished_count >= _ENOUGH_RUNS:
        since, mark = mark, totals
    return History(
        probe=probe or history.probe,
        arrived=arrived,
        arrival_rate_hz=_rate_hz(arrived),
        worked=_with_totals(history.worked, totals, now_s),
        totals=totals,
        runs_since=since,
        runs_mark=mark,
    )


def snapshot(history: History, topic: str, workers: WorkerCounts, now_s: float) -> Snapshot:
    """Every signal of one topic now, None where it is unknown.

    A depth is good for ``PROBE_TTL_S``, and so is the arrival rate, which rests on it. ``service_rate_hz`` is
    finished runs per busy slot-second over the last 60 s, or over the last 20 to 40 runs where those go back further:
    120 runs in 60 s of four slots half busy are 120 / (4 x 30) = 1 Hz. Before any run has finished it is an
    optimistic bound, one per ``longest_running_s``: a slot that is at it for 8 s does at most 0.125 Hz.
    """
    probe, totals = history.probe, history.totals
    if probe is not None and now_s - probe.at_s > PROBE_TTL_S:
        probe = None
    if totals is None:
        totals = Totals()
    recent = next((p.totals for p in history.worked if p.at_s >= now_s - _RECENT_S), totals)
    runs_from = min(recent, history.runs_since, key=lambda t: t.finished_count)
    return Snapshot(
        topic=topic,
        at_s=now_s,
        ready_count=probe.ready_count if probe else None,
        retrying_count=probe.retrying_count if probe else None,
        held_count=None if history.totals is None else totals.held_count,
        running_count=None if history.totals is None else totals.running_count,
        arrival_rate_hz=history.arrival_rate_hz if probe else None,
        service_rate_hz=_service_rate_hz(totals, runs_from),
        service_p95_s=_service_p95_s(totals, runs_from),
        wait_p95_s=quantile(subtract(totals.wait, recent.wait), _TAIL_RATIO),
        workers=workers,
    )


def _beside(probe: Probe | None, totals: Totals, now_s: float) -> Arrived | None:
    if probe is None or probe.at_s < now_s - _REPORT_LAG_S - _JITTER_S:
        return None  # an old depth beside fresh totals would count twice what moved in between
    count = probe.ready_count + probe.retrying_count + totals.held_count + totals.left_count
    return Arrived(at_s=probe.at_s, count=count)


def _with_point(points: tuple[_Arrived, ...], point: _Arrived) -> tuple[_Arrived, ...]:
    if points and point.at_s < points[-1].at_s + _MIN_SPACING_S:
        return points
    return (*points, point)


def _with_totals(worked: tuple[_Worked, ...], totals: Totals, now_s: float) -> tuple[_Worked, ...]:
    kept = tuple(point for point in worked if point.at_s >= now_s - _KEEP_S)
    if kept and now_s < kept[-1].at_s + _MIN_SPACING_S:
        return kept
    return (*kept, _Worked(at_s=now_s, totals=totals))


def _rate_hz(points: Sequence[_Arrived]) -> float | None:
    """Arrivals per second over the longest window that agrees with every shorter one; None before 1 s is covered.

    Agreeing: the shorter window's count is within 3 sigma (Poisson) of what the longer one's rate makes of it, plus
    what the lag between depths and reports can shift. 200/s for a minute expects 400 in 2 s, give or take 3 x 20 + 40
    where the two are aligned.
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


def _window_starts(points: Sequence[_Arrived]) -> list[int]:
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


def _ironed(points: Sequence[_Arrived]) -> list[float]:
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


def _service_rate_hz(totals: Totals, since: Totals) -> float | None:
    finished = totals.finished_count - since.finished_count
    if finished <= 0:
        return 1 / totals.longest_running_s if totals.longest_running_s > 0 else None
    return finished / max(totals.busy_s - since.busy_s, finished * _MIN_RUN_S)


def _service_p95_s(totals: Totals, since: Totals) -> float | None:
    p95_s = quantile(subtract(totals.service, since.service), _TAIL_RATIO)
    return p95_s if p95_s is not None else totals.longest_running_s or None
