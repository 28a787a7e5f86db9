"""What handling a message takes: the rate of a busy slot and the tail of runs, and how long messages waited lately.

Totals are cumulative since a topic's first worker, so what counts is the difference between two of them. It is kept in
slices of a few seconds, with histograms as the buckets that hold something: small enough for a thousand topics.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from hermes_ray.core.histogram import BUCKET_COUNT, quantile
from hermes_ray.core.looks import JITTER_S
from hermes_ray.core.model import Totals

__all__ = ["Learnt", "Served", "Serving", "recent_s", "served", "with_totals"]

_RECENT_S = 60.0
_RECENT_INTERVALS = 3.0
_SLICES = 3
_ENOUGH_RUNS = 20
_SMALL_RUNS = 10
_ENOUGH_SERVICES = 5.0
_USUAL_RATIO = 1.2
_MOST_BUSY_RATIO = 1.5
_MIN_RUN_S = 1e-6
_TAIL_RATIO = 0.95

Buckets = tuple[int, ...]
"""The buckets of a histogram that hold something: index, count, index, count ..."""


class Served(NamedTuple):
    """Runs that ended, their durations' sum, slot-seconds in handlers with running ones, and the histograms."""

    finished_count: int = 0
    finished_s: float = 0.0
    busy_s: float = 0.0
    service: Buckets = ()
    wait: Buckets = ()


_NOTHING = Served()


class _Slice(NamedTuple):
    ended_s: float
    served: Served


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What handling a message of a topic takes, wherever its workers live."""

    service_rate_hz: float
    service_p95_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Slices of what was served, oldest first, and the sums as of ``since_s``, when the slice of now began.

    What is made of them: ``service_rate_hz`` of one busy slot, ``service_p95_s``, ``wait_p95_s`` of the last minute;
    ``finished_s`` when a run ended last, as far as reports tell.
    """

    slices: tuple[_Slice, ...] = ()
    since_s: float | None = None
    before: Served = _NOTHING
    finished_count: int = 0
    finished_s: float | None = None
    service_rate_hz: float | None = None
    service_p95_s: float | None = None
    wait_p95_s: float | None = None
    prior: Learnt | None = None


def recent_s(report_interval_s: float) -> float:
    """What "lately" means: 60 s, or three report intervals."""
    return max(_RECENT_S, _RECENT_INTERVALS * report_interval_s)


def served(totals: Totals) -> Served:
    """The sums of ``totals``; runs whose durations are not summed took what their slots were busy."""
    finished_s = totals.busy_s if totals.finished_s is None else totals.finished_s
    return Served(
        totals.finished_count, finished_s, totals.busy_s, _held_buckets(totals.service), _held_buckets(totals.wait)
    )


def with_totals(serving: Serving, totals: Totals, now_s: float, *, report_interval_s: float) -> Serving:
    """What is known with newer totals.

    The service rate is of the last 60 s, and further back until that holds 20 runs and 5 times what one takes: a slot
    that did 120 runs in 60 s, half busy, does 120 / 30 = 4 Hz. It is taken between two sums that lean to either side:
    runs that ended, of which short ones end first while a pool grows, and all that slots were busy, half as much again
    at most while none of them runs for unusually long: many that have just begun are no sign of slowness.
    Before any run has ended it is a bound, from the age of the oldest: a slot at it for 8 s does at most 0.125 Hz.
    """
    lately_s = recent_s(report_interval_s)
    now = served(totals)
    slices, since_s, before = serving.slices, serving.since_s, serving.before
    if since_s is None:
        # What was counted before the first look is good for the service rate, but nobody waited in the last minute.
        since_s, before = now_s, Served(wait=now.wait)
    current = _minus(now, before)
    usual_s = 1 / serving.service_rate_hz if serving.service_rate_hz and serving.finished_count else 0.0
    if now_s - since_s >= max(lately_s, _ENOUGH_SERVICES * usual_s) / _SLICES - JITTER_S:
        if any(current):
            slices = (*slices, _Slice(now_s, current))
        since_s, before, current = now_s, now, Served()
    slices = _kept(slices, current, now_s, lately_s)
    rate_hz, p95_s = _rate(_together(s.served for s in (*slices, _Slice(now_s, current))), totals, serving.prior)
    waited: Iterable[Served] = [s.served for s in slices if s.ended_s > now_s - lately_s]
    wait = _together((*waited, current)).wait
    has_finished = totals.finished_count > serving.finished_count
    return Serving(
        slices=slices,
        since_s=since_s,
        before=before,
        finished_count=max(totals.finished_count, serving.finished_count),
        finished_s=now_s if has_finished else serving.finished_s,
        service_rate_hz=rate_hz,
        service_p95_s=p95_s,
        wait_p95_s=quantile(_dense(wait), _TAIL_RATIO) if wait else None,
        prior=serving.prior,
    )


def _kept(slices: tuple[_Slice, ...], current: Served, now_s: float, lately_s: float) -> tuple[_Slice, ...]:
    """The slices of lately, and older ones while the rest holds too few runs or is too short for them.

    Older ones of few runs are put together, so that runs minutes apart need no more slices than others.
    """
    finished, busy_s, first = current.finished_count, current.busy_s, len(slices)
    while first > 0:
        ended_s, before = slices[first - 1]
        is_long = now_s - ended_s >= _ENOUGH_SERVICES * busy_s / max(1, finished)
        if ended_s <= now_s - lately_s and finished >= _ENOUGH_RUNS and is_long:
            break
        finished, busy_s, first = finished + before.finished_count, busy_s + before.busy_s, first - 1
    slices = slices[first:]
    if len(slices) > _SLICES:
        for i in range(1, len(slices) - _SLICES):
            both = (slices[i - 1].served, slices[i].served)
            if sum(part.finished_count for part in both) <= _SMALL_RUNS:
                return (*slices[: i - 1], _Slice(slices[i].ended_s, _together(both)), *slices[i + 1 :])
    return slices


def _rate(sum_: Served, totals: Totals, prior: Learnt | None) -> tuple[float | None, float | None]:
    if prior is not None and totals.finished_count < _ENOUGH_RUNS:
        return prior.service_rate_hz, prior.service_p95_s
    finished = sum_.finished_count
    if finished <= 0:
        running_s = totals.longest_running_s
        return (1 / running_s, running_s) if running_s > 0 else (None, None)
    p95_s = quantile(_dense(sum_.service), _TAIL_RATIO) if sum_.service else totals.longest_running_s or None
    busy_s = sum_.busy_s
    if p95_s is not None and totals.longest_running_s <= _USUAL_RATIO * p95_s:
        busy_s = min(busy_s, _MOST_BUSY_RATIO * sum_.finished_s)
    took_s = (sum_.finished_s + busy_s) / 2
    return finished / max(took_s, finished * _MIN_RUN_S), p95_s


def _held_buckets(counts: tuple[int, ...]) -> Buckets:
    return tuple(number for i, count in enumerate(counts) if count for number in (i, count))


def _dense(buckets: Buckets) -> list[int]:
    counts = [0] * BUCKET_COUNT
    for i in range(0, len(buckets), 2):
        counts[buckets[i]] += buckets[i + 1]
    return counts


def _minus(later: Served, earlier: Served) -> Served:
    return Served(
        max(0, later.finished_count - earlier.finished_count),
        max(0.0, later.finished_s - earlier.finished_s),
        max(0.0, later.busy_s - earlier.busy_s),
        _less(later.service, earlier.service),
        _less(later.wait, earlier.wait),
    )


def _less(later: Buckets, earlier: Buckets) -> Buckets:
    if not earlier:
        return later
    before = dict(zip(earlier[::2], earlier[1::2], strict=True))
    found: list[int] = []
    for bucket, count in zip(later[::2], later[1::2], strict=True):
        more = count - before.get(bucket, 0)
        if more > 0:
            found += (bucket, more)
    return tuple(found)


def _together(parts: Iterable[Served]) -> Served:
    finished, finished_s, busy_s = 0, 0.0, 0.0
    service: dict[int, int] = {}
    wait: dict[int, int] = {}
    for part in parts:
        finished, finished_s, busy_s = (
            finished + part.finished_count,
            finished_s + part.finished_s,
            busy_s + part.busy_s,
        )
        for sums, buckets in ((service, part.service), (wait, part.wait)):
            for i in range(0, len(buckets), 2):
                sums[buckets[i]] = sums.get(buckets[i], 0) + buckets[i + 1]
    return Served(
        finished,
        finished_s,
        busy_s,
        tuple(number for pair in service.items() for number in pair),
        tuple(number for pair in wait.items() for number in pair),
    )
