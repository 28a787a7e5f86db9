"""How many workers a topic wants for what is seen now, whatever it has and whatever there is room for.

Two rules that know nothing of limits: ``wanted`` for the adaptive policy, ``threshold`` for Go Hermes' rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, sqrt

from hermes_ray.core.model import Reason, Snapshot, ThresholdRule, TopicParams

__all__ = ["Checks", "Proposal", "clearing_s", "demand_slots", "slack_s", "threshold", "wanted", "whole"]

_UTILISATION_RATIO = 0.8
_SPARE_RATIO = 1 / _UTILISATION_RATIO - 1
_LEAST_SLACK_RATIO = 0.1
_CHANCE_SIGMAS = 2.0
_BAND_RATIO = 0.03
_EPSILON = 1e-9


def whole(number: float) -> int:
    """The next whole number up, blind to float noise: 3.0000000001 is 3, 3.1 is 4."""
    return ceil(number - _EPSILON * max(1.0, abs(number)))


def demand_slots(
    *, arrival_rate_hz: float, service_rate_hz: float, waiting_count: int, unsettled_count: int, slack_s: float
) -> float:
    """Slots that keep up with arrivals at 80 % use and clear what waits within half the slack.

    slots = lambda / (0.8 mu) + (W - max(2 sqrt(lambda / mu), 0.25 lambda h)) / (mu h), with h half the slack and W the
    messages in no handler; at most (U + lambda h) / 0.8, with U all that is unsettled, handlers included.

    The first term leaves slots for 0.25 lambda unused, which clear 0.25 lambda h of what waits, unless a slot is busy
    for longer than h: then those in use clear nothing in time. As many as 2 sqrt(lambda / mu) wait by chance where 80 %
    are in use. Only what is beyond needs more, and never more than one slot per message. A message is worth one slot at
    least, since a handler may hold it.

    With lambda = 31/s, mu = 2.6/s, W = 412 and a slack of 20 s: 14.9 + (412 - 77.5) / 26 = 27.8 slots.
    """
    half_s = clearing_s(slack_s)
    offered = arrival_rate_hz / service_rate_hz
    spare = _SPARE_RATIO * arrival_rate_hz * half_s if service_rate_hz * half_s >= 1.0 else 0.0
    excess = max(0.0, waiting_count - max(_CHANCE_SIGMAS * sqrt(offered), spare))
    extra = excess / max(1.0, service_rate_hz * half_s)
    most = (unsettled_count + arrival_rate_hz * half_s) / _UTILISATION_RATIO
    return max(min(offered / _UTILISATION_RATIO + extra, most), 1.0 if unsettled_count > 0 else 0.0)


def wanted(snapshot: Snapshot, params: TopicParams, current: int | None = None) -> int | None:
    """Workers the adaptive policy wants, or None where a signal is missing: hold what there is.

    With nothing unsettled and nothing arriving it needs no service rate to want none. 27.8 slots at 4 per worker are
    7 workers. What is missing may be 3 %, and ``current`` workers may be 3 % too many: rates are not known better, and
    neither 26 workers for 25.1 nor a coming and going of the last per cent of 100 is worth it.
    """
    if snapshot.ready_count is None or snapshot.held_count is None:
        return None
    backlog = snapshot.ready_count + snapshot.held_count
    arrivals, service = snapshot.arrival_rate_hz, snapshot.service_rate_hz
    if backlog == 0 and arrivals == 0.0:
        return 0
    if arrivals is None or service is None:
        return None
    slots = demand_slots(
        arrival_rate_hz=arrivals,
        service_rate_hz=service,
        waiting_count=max(0, backlog - (snapshot.running_count or 0)),
        unsettled_count=backlog,
        slack_s=slack_s(params.latency_objective_s, snapshot.service_p95_s or 0.0),
    )
    workers = slots / params.concurrency
    least = whole((1 - _BAND_RATIO) * workers)
    return current if current is not None and least <= current <= (1 + _BAND_RATIO) * workers else least


def slack_s(objective_s: float, service_p95_s: float) -> float:
    """Time a message may wait: 30 s less a service tail of 4 s is 26 s; at least a tenth of the objective."""
    return max(objective_s - service_p95_s, _LEAST_SLACK_RATIO * objective_s)


def clearing_s(slack_s: float) -> float:
    """Time within which the backlog is to be cleared: half of what a message may wait."""
    return slack_s / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What the threshold rule remembers: its last check and action, and how many checks in a row pointed one way."""

    checked_at_s: float | None = None
    acted_at_s: float | None = None
    above_count: int = 0
    below_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Workers the threshold rule wants, not yet clamped: by its ratio alone, then with each bound of its step."""

    reason: Reason
    by_ratio: int
    with_min_step: int
    with_max_step: int


def threshold(
    checks: Checks, snapshot: Snapshot, params: TopicParams, current: int, now_s: float
) -> tuple[Checks, Proposal]:
    """Go Hermes' rule: each ``interval_s`` compare the ready depth with two limits, act on enough checks in a row.

    Returns the new memory and what it wants. The first check comes one interval after the first look. An unknown depth
    is no check. At 20 workers and ``up_ratio`` 0.2, 150 ready at two checks make it 24.
    """
    rule = params.threshold
    if checks.checked_at_s is None:
        return replace(checks, checked_at_s=now_s), _held(current, Reason.STEADY)
    if snapshot.ready_count is None:
        return checks, _held(current, Reason.NO_DATA)
    if now_s - checks.checked_at_s < rule.interval_s:
        return checks, _held(current, Reason.STEADY)
    above = checks.above_count + 1 if snapshot.ready_count > rule.up_ready_count else 0
    below = checks.below_count + 1 if snapshot.ready_count < rule.down_ready_count else 0
    checked = replace(checks, checked_at_s=now_s, above_count=above, below_count=below)
    proposal = _proposed(checked, params, current)
    if proposal is None:
        return checked, _held(current, Reason.STEADY)
    if checks.acted_at_s is not None and now_s - checks.acted_at_s < rule.cooldown_s:
        return checked, _held(current, Reason.COOLDOWN)
    return Checks(checked_at_s=now_s, acted_at_s=now_s), proposal


def _held(current: int, reason: Reason) -> Proposal:
    return Proposal(reason=reason, by_ratio=current, with_min_step=current, with_max_step=current)


def _proposed(checks: Checks, params: TopicParams, current: int) -> Proposal | None:
    rule = params.threshold
    if checks.above_count >= rule.up_checks and current < params.workers_max:
        return _moved(rule, current, rule.up_ratio, sign=1)
    if checks.below_count >= rule.down_checks and current > params.workers_min:
        return _moved(rule, current, rule.down_ratio, sign=-1)
    return None


def _moved(rule: ThresholdRule, current: int, ratio: float, *, sign: int) -> Proposal:
    size = int(ratio * current + _EPSILON)
    at_least = max(size, rule.min_step)
    return Proposal(
        reason=Reason.THRESHOLD,
        by_ratio=max(0, current + sign * size),
        with_min_step=max(0, current + sign * at_least),
        with_max_step=max(0, current + sign * min(at_least, rule.max_step)),
    )
