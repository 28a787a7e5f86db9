"""Did it help? What each scale-up added to the rate at which messages are finished, against what it should have added.

Only while messages wait is that rate bound by the number of workers, and only then can it be compared: a scale-up after
which the queue is soon empty helped, or was not needed, and is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hermes_ray.core.flow import window_s
from hermes_ray.core.model import Decision, Snapshot

__all__ = ["Effect", "Trial", "judge"]

_LATE_INTERVALS = 2.0  # reports are up to two intervals late
_GIVE_UP_S = 300.0
_GIVE_UP_INTERVALS = 10.0
_ENOUGH_RUNS = 10.0  # in the time that finish_rate_hz looks back: fewer say nothing
_WEIGHT = 0.3
_LEAST_RATIO, _MOST_RATIO = -1.0, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A scale-up that is not judged yet: from ``workers`` that consumed, each good for ``worker_rate_hz``, to
    ``target``. ``settled_since_s``: since when all of them have consumed with messages waiting all the time.
    """

    begun_s: float
    workers: int
    worker_rate_hz: float
    target: int
    settled_since_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What scaling up has been worth lately, plain data.

    ``ratio``: 1 is all of the expected gain, 0 nothing, negative that it did harm (-1 to 2); an average in which the
    last scale-up weighs 0.3. None before one could be judged.
    """

    ratio: float | None = None
    trial: Trial | None = None


def judge(
    effect: Effect,
    decision: Decision | None,
    seen: Snapshot,
    now_s: float,
    *,
    concurrency: int,
    report_interval_s: float = 1.0,
) -> Effect:
    """The effect after this tick's ``decision`` on what was ``seen``; ``concurrency`` is slots per worker.

    A scale-up is judged once what the finish rate looks back on, 10 s or two report intervals, began two intervals
    after it settled. From 2 to 6 workers of 4 slots at 2.5 Hz, 20 runs/s should become 60. With 50 of them once it has
    settled, 30 of 40 were gained: 0.75.
    """
    trial = _continued(effect.trial, decision, seen, now_s, concurrency, report_interval_s)
    if trial is None or now_s - trial.begun_s > max(_GIVE_UP_S, _GIVE_UP_INTERVALS * report_interval_s):
        return replace(effect, trial=None)
    if seen.workers.observed < trial.target or not seen.ready_count or seen.finish_rate_hz is None:
        return replace(effect, trial=replace(trial, settled_since_s=None))
    if trial.settled_since_s is None:
        return replace(effect, trial=replace(trial, settled_since_s=now_s))
    settle_s = window_s(report_interval_s) + _LATE_INTERVALS * report_interval_s
    if now_s - trial.settled_since_s < settle_s + (seen.service_p95_s or 0.0):
        return replace(effect, trial=trial)
    return Effect(ratio=_averaged(effect.ratio, _gained_ratio(trial, seen.workers.observed, seen.finish_rate_hz)))


def _continued(
    trial: Trial | None,
    decision: Decision | None,
    seen: Snapshot,
    now_s: float,
    concurrency: int,
    report_interval_s: float,
) -> Trial | None:
    """The trial there was, moved on by a decision: a further step up belongs to it, a step down ends it."""
    if decision is None or decision.target == decision.before:
        return trial
    if decision.target < decision.before:
        return None
    if trial is not None:
        return replace(trial, target=decision.target, settled_since_s=None)
    if seen.service_rate_hz is None or seen.service_p95_s == seen.longest_running_s:
        return None  # no run has ended yet: both are guesses from the age of the oldest one
    workers, worker_rate_hz = seen.workers.observed, concurrency * seen.service_rate_hz
    if decision.target <= workers or decision.target * worker_rate_hz < _ENOUGH_RUNS / window_s(report_interval_s):
        return None
    return Trial(begun_s=now_s, workers=workers, worker_rate_hz=worker_rate_hz, target=decision.target)


def _gained_ratio(trial: Trial, workers: int, finish_rate_hz: float) -> float:
    gain_hz = finish_rate_hz - trial.workers * trial.worker_rate_hz
    expected_hz = (workers - trial.workers) * trial.worker_rate_hz
    return min(max(gain_hz / expected_hz, _LEAST_RATIO), _MOST_RATIO)


def _averaged(ratio: float | None, latest: float) -> float:
    return latest if ratio is None else ratio + _WEIGHT * (latest - ratio)
