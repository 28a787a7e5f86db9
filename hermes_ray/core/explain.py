"""A decision as one sentence with numbers, for people."""

from __future__ import annotations

from hermes_ray.core.demand import clearing_s, slack_s
from hermes_ray.core.model import Decision, Reason, Snapshot, TopicParams
from hermes_ray.core.stall import is_first_run

__all__ = ["explain"]

_WHOLE_FROM = 100
_DAY_S = 86_400.0


def explain(
    decision: Decision, params: TopicParams, *, is_capacity_known: bool, lack: str = "", window_s: float = 60.0
) -> str:
    """What changes, what is seen, what the number is good for, what bound it; the decision's own text is not read.

    ``lack``: what the cluster is short of for one more worker; ``window_s``: for how long a pool keeps what was wanted.

    ``8 -> 13 workers: 412 waiting, oldest 9 s, arrivals 31/s, one slot does 2.6/s; 13 keeps the wait under 21 of 30 s``
    """
    before, target = decision.before, decision.target
    change = f"{before} -> {target}" if target != before else f"{target}"
    plural = "worker" if target == 1 else "workers"
    clauses = (_seen(decision.snapshot), _promise(decision, params), _why(decision, is_capacity_known, lack, window_s))
    kept = f"those of the former size work on, no room for one of the new: {lack}" if decision.is_kept else ""
    return f"{change} {plural}: {'; '.join(filter(None, (*clauses, kept)))}"


def _seen(seen: Snapshot) -> str:
    facts = [
        f"{_short(seen.ready_count)} waiting",
        f"oldest {seen.oldest_age_s:.0f} s" if seen.ready_count and seen.oldest_age_s is not None else "",
        f"{seen.held_count} held" if seen.held_count else "",
        f"arrivals {_short(seen.arrival_rate_hz)}/s" if seen.arrival_rate_hz is not None else "arrivals unknown",
        f"one slot does {_at_most(seen)}{_short(seen.service_rate_hz)}/s" if seen.service_rate_hz is not None else "",
    ]
    return ", ".join(filter(None, facts))


def _at_most(seen: Snapshot) -> str:
    """Before any handler has ended the rate is a bound, from the one that runs for longest."""
    return "at most " if is_first_run(seen) else ""


_CUTS = (Reason.WORKERS_MAX, Reason.SINGLE_ACTIVE, Reason.STARTS_FAIL, Reason.CAPACITY)


def _promise(decision: Decision, params: TopicParams) -> str:
    """What the number of workers is good for, where the adaptive policy knows it."""
    if params.policy != "adaptive" or decision.target == 0:
        return ""
    if decision.reason in (Reason.DEMAND, Reason.STEADY):
        return _met(decision, params)
    return _capped(decision, params) if decision.reason in _CUTS else ""


def _met(decision: Decision, params: TopicParams) -> str:
    """What a number that is the demand keeps.

    Messages that have waited for longer than the slack leaves to clear them are late whatever is done: then it is but
    how soon they are gone.
    """
    objective_s, seen = params.latency_objective_s, decision.snapshot
    most_s = slack_s(objective_s, seen.service_p95_s or 0.0)
    cleared_s = clearing_s(most_s)
    if seen.ready_count and (seen.oldest_age_s or 0.0) + cleared_s > most_s:
        return f"{decision.target} clears what waits within {_short(cleared_s)} s"
    return f"{decision.target} keeps the wait under {_short(most_s)} of {_short(objective_s)} s"


def _capped(decision: Decision, params: TopicParams) -> str:
    """What is left of it: 13 slots of 2.6/s clear 412 under 31/s arriving within 412 / (33.8 - 31) = 147 s.

    Rates are not known so well that more than a day of it would mean anything: 1e-7/s to spare make it 130 years.
    """
    seen, target = decision.snapshot, decision.target
    arrivals, service, ready, held = seen.arrival_rate_hz, seen.service_rate_hz, seen.ready_count, seen.held_count
    if arrivals is None or service is None or ready is None or held is None:
        return ""
    working = min(target, 1) if params.single_active else target
    spare_hz, backlog = working * params.concurrency * service - arrivals, ready + held
    does_not = f"{target} {'does' if target == 1 else 'do'} not"
    if spare_hz <= 0:
        return f"{does_not} keep up with arrivals"
    if backlog > _DAY_S * spare_hz:
        return f"{does_not} clear what waits within a day"
    return f"{target} clears what waits within {_short(backlog / spare_hz)} s" if backlog else ""


def _why(decision: Decision, is_capacity_known: bool, lack: str, window_s: float) -> str:
    was = decision.limiters[-1].before if decision.limiters else decision.target
    is_growth = decision.target > decision.before
    room = "the room in the cluster" if is_capacity_known else "a cluster whose room is unknown"
    clauses = {
        Reason.DEMAND: "",
        Reason.STEADY: "",
        Reason.NO_DATA: "held, because data is missing",
        Reason.FIRST_WORKER: "a first worker for what waits",
        Reason.STABILISING: f"kept above {was} by the last {_short(window_s)} s",
        Reason.UNFINISHED: f"kept from {was}, because no handler has ended for {_short(_quiet_s(decision.snapshot))} s",
        Reason.FIRST_RUN: f"kept from {was} until a first handler has ended",
        Reason.WORKERS_MIN: f"raised from {was} by workers.min",
        Reason.WORKERS_MAX: f"capped from {was} by workers.max",
        Reason.SINGLE_ACTIVE: f"held at {decision.target} instead of {was} by the queue's single active consumer: one "
        "works, one stands by",
        Reason.STARTS_FAIL: f"cut from {was}: workers do not start, so others come first{f': {lack}' if lack else ''}",
        Reason.CAPACITY: f"cut from {was} by {room}{f': {lack}' if lack and not decision.is_kept else ''}",
        Reason.FIXED: "fixed at workers.max",
        Reason.THRESHOLD: "by the threshold rule",
        Reason.MIN_STEP: f"{'raised' if is_growth else 'lowered'} from {was} by min_step",
        Reason.MAX_STEP: f"{'capped from' if is_growth else 'kept above'} {was} by max_step",
        Reason.COOLDOWN: "held by the threshold rule's cooldown",
        Reason.PINNED: "pinned by hand",
        Reason.PAUSED: "paused by hand",
        Reason.STOPPED: "stopped by hand",
    }
    return clauses[decision.reason]


def _short(number: float | None) -> str:
    """Three digits at most that mean something: 412, 31, 2.6, 0.0167; large numbers whole."""
    if number is None:
        return "unknown"
    return f"{number:.0f}" if number >= _WHOLE_FROM else f"{number:.3g}"


def _quiet_s(seen: Snapshot) -> float | None:
    return seen.longest_running_s if seen.unfinished_s is None else seen.unfinished_s
