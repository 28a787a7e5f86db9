"""From depth probes and worker totals to a snapshot: how fast messages arrive, how fast slots work, how long waits are.

``observe`` folds what is seen into a ``History``, plain data that can be written down and read back; ``snapshot``
reads it. First arrivals are counted at the boundary of everything we know of, ``ready + retrying + held + settled``: a
retry moves inside it and is not counted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hermes_ray.core.age import Queue, arrive, oldest_at_s
from hermes_ray.core.arrivals import Taken
from hermes_ray.core.flow import Look, busy_slots, finish_rate_hz, growth_rate_hz, with_look
from hermes_ray.core.looks import JITTER_S
from hermes_ray.core.model import Arrived, Probe, Snapshot, Totals, WorkerCounts
from hermes_ray.core.rate import Counted, arrival_rate_hz, with_count
from hermes_ray.core.service import Learnt, Serving, with_totals

__all__ = ["PROBE_TTL_S", "History", "Learnt", "elsewhere", "learnt", "observe", "snapshot"]

PROBE_TTL_S = 10.0

_INTERPOLATED_LAG_RATIO = 0.05  # of an interval: reports are interpolated as if work flowed evenly between them


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is remembered of one topic, 4 kB at most as msgpack: when messages came and which of them wait, what slots
    did lately, what handling takes. ``totals`` are the last ones seen, without histograms.
    """

    probe: Probe | None = None
    arrived: tuple[Counted, ...] = ()
    arrival_rate_hz: float | None = None
    queue: Queue = field(default_factory=Queue)
    looks: tuple[Look, ...] = ()
    totals: Totals | None = None
    serving: Serving = field(default_factory=Serving)


def elsewhere(prior: Learnt | None) -> History:
    """The history of a topic that nobody has seen here: ``prior`` stands in until 20 runs have finished."""
    return History(serving=Serving(prior=prior))


def observe(
    history: History,
    probe: Probe | None,
    totals: Totals,
    now_s: float,
    arrived_at_probe: Arrived | None = None,
    *,
    report_interval_s: float = 1.0,
    is_interpolated: bool = False,
    late: Sequence[Taken] = (),
) -> History:
    """The history after what was seen now. ``probe`` is None when the broker gave no answer; repeats are harmless.

    ``arrived_at_probe`` counts arrivals for a moment that both a probe and the reports cover. Where there is none, the
    fresh depth is put beside totals of up to a report interval ago, which errs by what moved in between; or arrivals
    go uncounted for the moment, if it ``is_interpolated`` otherwise. ``late``: what workers took in a silence that has
    ended now; what was counted without it is made good.
    """
    is_beside = arrived_at_probe is None and not is_interpolated
    counted = _beside(probe, totals, now_s) if is_beside else arrived_at_probe
    arrived, queue, rate_hz = history.arrived, history.queue, history.arrival_rate_hz
    if late:
        arrived = tuple(
            point._replace(arrived_count=point.arrived_count + _missed(late, point.at_s)) for point in arrived
        )
        queue = Queue(points=tuple((at_s, count + _missed(late, at_s)) for at_s, count in queue.points))
    if counted is not None:
        point = Counted(counted.at_s, counted.count, totals.finished_count)
        arrived = with_count(arrived, point, report_interval_s=report_interval_s)
        if probe is not None:
            queue = arrive(queue, counted.at_s, counted.count, probe.ready_count)
    if arrived is not history.arrived:
        lag_s = report_interval_s * (1.0 if is_beside else _INTERPOLATED_LAG_RATIO)
        rate_hz = arrival_rate_hz(arrived, report_interval_s=report_interval_s, lag_s=lag_s)
    seen, serving = history.totals, history.serving
    bare = replace(totals, service=(), wait=())
    is_due = serving.since_s is None or now_s - serving.since_s >= report_interval_s
    if bare != seen or is_due:
        serving = with_totals(serving, totals, now_s, report_interval_s=report_interval_s)
    unsettled = None
    if probe is not None and _is_fresh(probe, now_s):
        unsettled = probe.ready_count + probe.retrying_count + totals.held_count
    return History(
        probe=probe or history.probe,
        arrived=arrived,
        arrival_rate_hz=rate_hz,
        queue=queue,
        looks=with_look(history.looks, totals, unsettled, now_s, report_interval_s=report_interval_s),
        totals=bare,
        serving=serving,
    )


def snapshot(
    history: History,
    topic: str,
    workers: WorkerCounts,
    now_s: float,
    slot_count: int | None = None,
    *,
    report_interval_s: float = 1.0,
) -> Snapshot:
    """Every signal of one topic now, None where it is unknown.

    A depth is good for ``PROBE_TTL_S``, and so is what rests on it. Utilisation is of ``slot_count``, the slots of
    workers that consume now: it is right once their number has stood for 10 s, or two report intervals.
    """
    probe = history.probe if history.probe and now_s - history.probe.at_s <= PROBE_TTL_S else None
    seen, serving, looks = history.totals, history.serving, history.looks
    busy = busy_slots(looks, report_interval_s=report_interval_s)
    return Snapshot(
        topic=topic,
        at_s=now_s,
        ready_count=probe.ready_count if probe else None,
        retrying_count=probe.retrying_count if probe else None,
        held_count=seen.held_count if seen else None,
        running_count=seen.running_count if seen else None,
        longest_running_s=seen.longest_running_s if seen else None,
        arrival_rate_hz=history.arrival_rate_hz if probe else None,
        service_rate_hz=serving.service_rate_hz,
        service_p95_s=serving.service_p95_s,
        wait_p95_s=serving.wait_p95_s,
        oldest_age_s=_oldest_age_s(history, probe, now_s) if probe else None,
        finish_rate_hz=finish_rate_hz(looks, report_interval_s=report_interval_s),
        growth_rate_hz=growth_rate_hz(looks, report_interval_s=report_interval_s) if probe else None,
        utilisation_ratio=min(busy / slot_count, 1.0) if slot_count and busy is not None else None,
        unfinished_s=None if serving.finished_s is None else max(0.0, now_s - serving.finished_s),
        workers=workers,
    )


def learnt(history: History) -> Learnt | None:
    """What a deployment on another cluster may start from: what its runs took, or the prior while there are none."""
    serving = history.serving
    if serving.finished_count == 0:
        return serving.prior
    rate_hz, p95_s = serving.service_rate_hz, serving.service_p95_s
    return None if rate_hz is None or p95_s is None else Learnt(service_rate_hz=rate_hz, service_p95_s=p95_s)


def _missed(late: Sequence[Taken], at_s: float) -> float:
    """What those that were silent had taken by then, beyond what they had said."""
    return sum(taken.at(at_s) - taken.from_count for taken in late)


def _beside(probe: Probe | None, totals: Totals, now_s: float) -> Arrived | None:
    if probe is None or not _is_fresh(probe, now_s):
        return None  # an old depth beside fresh totals would count twice what moved in between
    count = probe.ready_count + probe.retrying_count + totals.held_count + totals.settled_count
    return Arrived(at_s=probe.at_s, count=count)


def _is_fresh(probe: Probe, now_s: float) -> bool:
    return probe.at_s >= now_s - 1.0 - JITTER_S


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
