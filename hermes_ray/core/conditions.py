"""What is wrong with a topic right now, as far as the scaler itself can tell: what a person should hear about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hermes_ray.core.model import Decision, Reason, Snapshot, TopicParams
from hermes_ray.core.service import recent_s
from hermes_ray.core.stall import hangs, is_first_run

__all__ = ["MEANINGS", "Condition", "Troubles", "conditions"]

_PROBE_FAILURES = 3
_BUSY_RATIO = 0.95


class Condition(StrEnum):
    """A state that a person may have to do something about."""

    PROBE_FAILING = "probe_failing"
    START_FAILING = "start_failing"
    STALLED = "stalled"
    SATURATED = "saturated"
    CAPACITY_EXHAUSTED = "capacity_exhausted"
    OBJECTIVE_AT_RISK = "objective_at_risk"
    UNRESPONSIVE = "unresponsive"
    NOT_CONSUMING = "not_consuming"
    UNMOVABLE = "unmovable"
    SLOT_HUNG = "slot_hung"


MEANINGS: Mapping[Condition, str] = {
    Condition.PROBE_FAILING: "The broker does not tell how many messages wait; once the last answer is 10 s old, "
    "the number of workers holds.",
    Condition.START_FAILING: "Workers fail to start; new ones are tried after growing pauses.",
    Condition.STALLED: "Messages are there and workers consume, but none has been finished for long: "
    "a handler hangs, or what it waits for does.",
    Condition.SATURATED: "Every slot is busy, messages flow, and more of them wait.",
    Condition.CAPACITY_EXHAUSTED: "The cluster has no room for the workers this topic wants.",
    Condition.OBJECTIVE_AT_RISK: "Messages wait so long that they are handled too late for the latency objective.",
    Condition.UNRESPONSIVE: "A worker has said nothing for three report intervals: its process hangs or is stopped, "
    "or a handler holds the interpreter.",
    Condition.NOT_CONSUMING: "A worker lives and the broker is there, but it has not consumed for three report "
    "intervals; its own words are in hermes workers.",
    Condition.UNMOVABLE: "A message failed, and the broker takes it neither for a retry nor as a dead letter: a worker "
    "holds it; the broker's words are in hermes workers.",
    Condition.SLOT_HUNG: "A handler does not return while others do: hermes workers names the worker, the message and "
    "the time, and worker timeouts would end it.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubles:
    """What a topic's own parts have met: failures in a row, and workers that have been so for three report intervals.

    ``is_placeless``: workers that were granted have no node that could hold them, whoever moves.
    """

    probe_failure_count: int = 0
    start_failure_count: int = 0
    unresponsive_count: int = 0
    not_consuming_count: int = 0
    unmovable_count: int = 0
    hung_count: int = 0
    is_placeless: bool = False


def conditions(
    seen: Snapshot,
    decision: Decision | None,
    params: TopicParams,
    troubles: Troubles,
    *,
    is_capacity_known: bool = True,
    report_interval_s: float = 1.0,
) -> frozenset[Condition]:
    """What holds of one topic now; ``decision`` is of the same moment.

    Starts fail only where workers are wanted, and a cluster that does not tell its room is not said to have none. "For
    long" is 60 s, or three times ``report_interval_s``.

    What is unknown raises nothing, except that an unknown depth after a failed probe is itself a condition.
    """
    is_stalled = hangs(seen, params, report_interval_s=report_interval_s) or _is_ignored(
        seen, recent_s(report_interval_s)
    )
    holds = {
        Condition.PROBE_FAILING: troubles.probe_failure_count >= (1 if seen.ready_count is None else _PROBE_FAILURES),
        Condition.START_FAILING: troubles.start_failure_count >= 1 and not (decision and decision.target == 0),
        Condition.STALLED: is_stalled,
        Condition.SATURATED: not is_stalled and _is_saturated(seen, params),
        Condition.CAPACITY_EXHAUSTED: is_capacity_known
        and (troubles.is_placeless or (decision is not None and _is_cut(decision))),
        Condition.OBJECTIVE_AT_RISK: _is_at_risk(seen, params.latency_objective_s),
        Condition.UNRESPONSIVE: troubles.unresponsive_count > 0,
        Condition.NOT_CONSUMING: troubles.not_consuming_count > 0,
        Condition.UNMOVABLE: troubles.unmovable_count > 0,
        Condition.SLOT_HUNG: troubles.hung_count > 0,
    }
    return frozenset(condition for condition in Condition if holds[condition])


def _is_ignored(seen: Snapshot, long_s: float) -> bool:
    """Messages have been ready for ``long_s`` and workers consume, but hand none to their slots."""
    is_idle = seen.running_count == 0 and seen.finish_rate_hz == 0.0 and seen.workers.observed > 0
    return is_idle and bool(seen.ready_count) and (seen.oldest_age_s or 0.0) > long_s


def _is_saturated(seen: Snapshot, params: TopicParams) -> bool:
    """All slots that the broker serves are busy; the standby of a single active consumer has none of those."""
    served_ratio = 1 / max(1, seen.workers.observed) if params.single_active else 1.0
    is_busy = (seen.utilisation_ratio or 0.0) >= _BUSY_RATIO * served_ratio
    return bool(seen.ready_count) and not is_first_run(seen) and is_busy


def _is_cut(decision: Decision) -> bool:
    return decision.is_kept or any(
        limiter.reason is Reason.CAPACITY and limiter.after < limiter.before for limiter in decision.limiters
    )


def _is_at_risk(seen: Snapshot, objective_s: float) -> bool:
    """What waits, or has waited in the last minute, and then takes a usual handler's time, is late."""
    ready_s = seen.oldest_age_s if seen.ready_count else None
    waits_s = [wait_s for wait_s in (ready_s, seen.wait_p95_s) if wait_s is not None]
    return bool(waits_s) and max(waits_s) + (seen.service_p95_s or 0.0) > objective_s
