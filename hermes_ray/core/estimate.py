"""From depth probes and worker totals to a snapshot: how fast messages arrive, how fast slots work, how long waits are.

``observe`` folds what is seen into a ``History``, plain data that can be written down and read back; ``snapshot``
reads it. First arrivals are counted at the boundary of everything we know of, ``ready + retrying + held + left``: a
retry moves inside it and is not counted again. Totals are up to a report interval older than depths, so this count
errs for a moment whenever messages move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hermes_ray.core.age import Queue, arrive, oldest_at_s
from hermes_ray.core.histogram import quantile, subtract
from hermes_ray.core.model import Arrived, Probe, Snapshot, Totals, WorkerCounts
from hermes_ray.core.rate import Counted, arrival_rate_hz

__all__ = ["PROBE_TTL_S", "History", "Learnt", "learnt", "observe", "snapshot", "thinned"]

PROBE_TTL_S = 10.0

_RECENT_S = 60.0
_TREND_S = 10.0
_KEEP_S = 75.0
_THIN_SPACING_S = 10.0
_MIN_SPACING_S = 0.75  # keeps a history within 100 points however often it is fed
_MIN_SPAN_S = 1.0
_JITTER_S = 0.25  # ticks are not exactly a second apart
_REPORT_LAG_S = 1.0
_INTERPOLATED_LAG_S = 0.2  # reports are interpolated as if work flowed evenly between them
_ENOUGH_RUNS = 20
_MIN_RUN_S = 1e-6
_TAIL_RATIO = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worked:
    """The totals at ``at_s``, beside them ready + retrying + held where the depth is known."""

    at_s: float
    totals: Totals
    unsettled_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What handling a message of a topic takes, wherever its workers live."""

    service_rate_hz: float
    service_p95_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is remembered of one topic: a bit more than the last minute, the last 20 to 40 handler runs, what waits.

    ``runs_since`` are the totals before those runs, ``runs_mark`` those it moves on to once 20 more have finished.
    ``prior`` stands in for the service rate and its tail until 20 runs have finished.
    """

    probe: Probe | None = None
    arrived: tuple[Counted, ...] = ()
    arrival_rate_hz: float | None = None
    queue: Queue = field(default_factory=Queue)
    worked: tuple[_Worked, ...] = ()
    totals: Totals | None = None
    runs_since: Totals = Totals()
    runs_mark: Totals = Totals()
    prior: Learnt | None = None


def observe(
    history: History, probe: Probe | None, totals: Totals, now_s: float, arrived_at_probe: Arrived | None = None
) -> History:
    """The history after what was seen now. ``probe`` is None when the broker gave no answer; repeats are harmless.

    ``arrived_at_probe`` counts arrivals for a moment that both a probe and the reports cover. Without it the fresh
    depth is put beside totals of up to a report interval ago, which errs by what moved in between.
    """
    counted = arrived_at_probe or _beside(probe, totals, now_s)
    lag_s = _INTERPOLATED_LAG_S if arrived_at_probe else _REPORT_LAG_S
    probe = probe or history.probe
    arrived, queue = history.arrived, history.queue
    if counted is not None:
        finished = totals.finished_count
        point = Counted(at_s=counted.at_s, count=counted.count, finished_count=finished, lag_s=lag_s)
        arrived = _with_point(arrived, point)
    if counted is not None and probe is not None:
        queue = arrive(queue, counted.at_s, counted.count, probe.ready_count)
    arrived = tuple(point for point in arrived if point.at_s >= now_s - _KEEP_S)
    since, mark = history.runs_since, history.runs_mark
    if totals.finished_count - mark.finished_count >= _ENOUGH_RUNS:
        since, mark = mark, totals
    return replace(
        history,
        probe=probe,
        arrived=arrived,
        arrival_rate_hz=arrival_rate_hz(arrived),
        queue=queue,
        worked=_with_totals(history.worked, probe, totals, now_s),
        totals=totals,
        runs_since=since,
        runs_mark=mark,
    )


def snapshot(
    history: History, topic: str, workers: WorkerCounts, now_s: float, slot_count: int | None = None
) -> Snapshot:
    """Every signal of one topic now, None where it is unknown.

    A depth is good for ``PROBE_TTL_S``, and so is what rests on it. ``service_rate_hz`` is finished runs per busy
    slot-second over the last 60 s, or over the last 20 to 40 runs where those go back further: 120 runs in 60 s of
    four slots half busy are 120 / (4 x 30) = 1 Hz. Utilisation is of ``slot_count``, the slots of workers that consume
    now: it is right once their number has stood for 10 s.
    """
    probe = history.probe if history.probe and now_s - history.probe.at_s <= PROBE_TTL_S else None
    seen, totals = history.totals, history.totals or Totals()
    recent = next((p.totals for p in history.worked if p.at_s >= now_s - _RECENT_S), totals)
    service_rate_hz, service_p95_s = _service(history, recent)
    finish_rate_hz, busy_slots = _flow(history.worked)
    return Snapshot(
        topic=topic,
        at_s=now_s,
        ready_count=probe.ready_count if probe else None,
        retrying_count=probe.retrying_count if probe else None,
        held_count=seen.held_count if seen else None,
        running_count=seen.running_count if seen else None,
        longest_running_s=seen.longest_running_s if seen else None,
        arrival_rate_hz=history.arrival_rate_hz if probe else None,
        service_rate_hz=service_rate_hz,
        service_p95_s=service_p95_s,
        wait_p95_s=quantile(subtract(totals.wait, recent.wait), _TAIL_RATIO),
        oldest_age_s=_oldest_age_s(history, probe, now_s) if probe else None,
        finish_rate_hz=finish_rate_hz,
        growth_rate_hz=_growth_rate_hz(history.worked) if probe else None,
        utilisation_ratio=min(busy_slots / slot_count, 1.0) if slot_count and busy_slots is not None else None,
        workers=workers,
    )


def thinned(history: History) -> History:
    """The same with totals only each 10 s, for writing down: nothing has to be relearnt from it."""
    kept = history.worked[:1]
    for point in history.worked[1:]:
        if point.at_s >= kept[-1].at_s + _THIN_SPACING_S - _JITTER_S or point is history.worked[-1]:
            kept = (*kept, point)
    return replace(history, worked=kept)


def learnt(history: History) -> Learnt | None:
    """What a deployment on another cluster may start from: what its runs took, or the prior while they are few."""
    if history.totals is None or history.totals.finished_count == 0:
        return history.prior
    rate_hz, p95_s = _service(history, history.worked[0].totals)
    return None if rate_hz is None or p95_s is None else Learnt(service_rate_hz=rate_hz, service_p95_s=p95_s)


def _beside(probe: Probe | None, totals: Totals, now_s: float) -> Arrived | None:
    if probe is None or not _is_fresh(probe, now_s):
        return None  # an old depth beside fresh totals would count twice what moved in between
    count = probe.ready_count + probe.retrying_count + totals.held_count + totals.settled_count
    return Arrived(at_s=probe.at_s, count=count)


def _with_point(points: tuple[Counted, ...], point: Counted) -> tuple[Counted, ...]:
    if points and point.at_s < points[-1].at_s + _MIN_SPACING_S:
        return points
    return (*points, point)


def _with_totals(worked: tuple[_Worked, ...], probe: Probe | None, totals: Totals, now_s: float) -> tuple[_Worked, ...]:
    kept = tuple(point for point in worked if point.at_s >= now_s - _KEEP_S)
    if kept and now_s < kept[-1].at_s + _MIN_SPACING_S:
        return kept
    unsettled = None
    if probe is not None and _is_fresh(probe, now_s):
        unsettled = probe.ready_count + probe.retrying_count + totals.held_count
    return (*kept, _Worked(at_s=now_s, totals=totals, unsettled_count=unsettled))


def _is_fresh(probe: Probe, now_s: float) -> bool:
    return probe.at_s >= now_s - _REPORT_LAG_S - _JITTER_S


def _oldest_age_s(history: History, probe: Probe, now_s: float) -> float | None:
    """The age of the head of the queue as of the latest depth, which is often younger than the last count.

    What arrived in between is taken from the arrival rate; what arrived beyond it makes the head seem older, but no
    older than it was at the last count.
    """
    if probe.ready_count == 0:
        return 0.0
    queue = history.queue
    if queue.points:
        at_s, count = queue.points[-1]
        count += (history.arrival_rate_hz or 0.0) * max(0.0, probe.at_s - at_s)
        queue = arrive(queue, probe.at_s, count, probe.ready_count)
    oldest_s = oldest_at_s(queue, probe.ready_count)
    return None if oldest_s is None else max(0.0, now_s - oldest_s)


def _flow(worked: Sequence[_Worked]) -> tuple[float | None, float | None]:
    """Handler runs that ended per second, and slots busy on average, over the last 10 s."""
    start = _ten_seconds_ago(worked)
    if start is None:
        return None, None
    span_s = worked[-1].at_s - start.at_s
    later, earlier = worked[-1].totals, start.totals
    finished = max(0, later.finished_count - earlier.finished_count)
    return finished / span_s, max(0.0, later.busy_s - earlier.busy_s) / span_s


def _growth_rate_hz(worked: Sequence[_Worked]) -> float | None:
    known = [(point, point.unsettled_count) for point in worked if point.unsettled_count is not None]
    start = _ten_seconds_ago([point for point, _ in known])
    if start is None or start.unsettled_count is None:
        return None
    last, unsettled = known[-1]
    return (unsettled - start.unsettled_count) / (last.at_s - start.at_s)


def _ten_seconds_ago(worked: Sequence[_Worked]) -> _Worked | None:
    """The latest point 10 s or more before the last, the first of a shorter history, None before it covers 1 s."""
    if not worked or worked[-1].at_s - worked[0].at_s < _MIN_SPAN_S:
        return None
    since_s = worked[-1].at_s - _TREND_S + _JITTER_S
    return next((point for point in reversed(worked) if point.at_s <= since_s), worked[0])


def _service(history: History, recent: Totals) -> tuple[float | None, float | None]:
    """The rate of a busy slot and the tail of runs, since ``recent`` or for 20 to 40 runs.

    Before any run has finished they are an optimistic bound, from the age of the oldest: a slot that is at it for 8 s
    does at most 0.125 Hz.
    """
    totals, prior = history.totals or Totals(), history.prior
    if prior is not None and totals.finished_count < _ENOUGH_RUNS:
        return prior.service_rate_hz, prior.service_p95_s
    since = min(recent, history.runs_since, key=lambda t: t.finished_count)
    return _service_rate_hz(totals, since), _service_p95_s(totals, since)


def _service_rate_hz(totals: Totals, since: Totals) -> float | None:
    finished = totals.finished_count - since.finished_count
    if finished <= 0:
        return 1 / totals.longest_running_s if totals.longest_running_s > 0 else None
    return finished / max(totals.busy_s - since.busy_s, finished * _MIN_RUN_S)


def _service_p95_s(totals: Totals, since: Totals) -> float | None:
    p95_s = quantile(subtract(totals.service, since.service), _TAIL_RATIO)
    return p95_s if p95_s is not None else totals.longest_running_s or None
