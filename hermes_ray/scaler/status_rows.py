"""What ``hermes status`` and the other looks show; the keys are an interface: they are only added to.

Times of the scaler's clock become wall time here: ``ahead_s`` is what that clock is ahead of the wall.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hermes_ray.core.histogram import quantile
from hermes_ray.core.model import Decision, Override, Reason
from hermes_ray.scaler.plan import Plan
from hermes_ray.scaler.record import Record
from hermes_ray.telemetry.figures import Figures, PastDecision, TopicFigures

__all__ = ["decision_row", "former_row", "override_row", "past_decision", "past_decision_row", "rules_alone"]
__all__ += ["topic_rows", "worker_row"]

Row = dict[str, Any]


def topic_rows(figures: Figures | None, ahead_s: float) -> dict[str, Row]:
    """Every topic's part of ``hermes status --json``; unknown is None."""
    return {} if figures is None else {name: _topic_row(topic, ahead_s) for name, topic in figures.topics.items()}


def former_row(former: Plan | None, has_own_copy: Callable[[Mapping[str, Any]], bool]) -> Row | None:
    """What ``hermes rollback`` goes back to; None if it cannot."""
    if former is None or not has_own_copy(former.environment):
        return None
    return {"applied_at": former.applied_at, "code": former.code}


def rules_alone(figures: Figures | None) -> bool:
    """Whether workers work by the plan applied last, and none is left of another; a start that fails is no such time.

    So a roll-out that stands still because its canaries fail never comes here.
    """
    topics = [] if figures is None else list(figures.topics.values())
    return any(topic.snapshot.workers.observed for topic in topics) and not any(
        topic.outdated_count or topic.start_error for topic in topics
    )


def _topic_row(topic: TopicFigures, ahead_s: float) -> Row:
    seen, workers = topic.snapshot, topic.snapshot.workers
    settlements, last = topic.counters.settlements, topic.last_decision
    return {
        "depth": seen.ready_count,
        "held": seen.held_count,
        "retrying": seen.retrying_count,
        "arrival_rate_hz": seen.arrival_rate_hz,
        "service_rate_hz": seen.service_rate_hz,
        "finish_rate_hz": seen.finish_rate_hz,
        "growth_rate_hz": seen.growth_rate_hz,
        "utilisation_ratio": seen.utilisation_ratio,
        "oldest_age_s": seen.oldest_age_s,
        "wait_p95_s": seen.wait_p95_s,
        "workers": {
            "observed": workers.observed,
            "starting": workers.starting,
            "draining": workers.draining,
            "target": topic.target,
        },
        "workers_max": topic.workers_max,
        "single_active": topic.single_active,
        "outdated": topic.outdated_count,
        "slots": topic.slot_count,
        "override": override_row(topic.said, seen.at_s, ahead_s),
        "conditions": sorted(map(str, topic.conditions)),
        "last_decision": None if last is None else past_decision_row(topic.topic, last, ahead_s),
        "waits": {f"p{percent}_s": quantile(topic.counters.runs.wait, percent / 100) for percent in (50, 95, 99)},
        "start_error": topic.start_error,
        "depth_error": topic.depth_error,
        "handled": settlements.acked,
        "retried": settlements.retried,
        "dead_lettered": settlements.dead_lettered,
    }


def override_row(override: Override, now_s: float, ahead_s: float) -> Row | None:
    """What rules instead of the policy, None if nothing does."""
    winner = override.winner(now_s)
    if winner is None:
        return None
    is_pinned, until_s = winner[0] is Reason.PINNED, override.pinned_until_s
    return {
        "kind": str(winner[0]),
        "count": override.pinned_count if is_pinned else None,
        "until": until_s - ahead_s if is_pinned and until_s is not None else None,
    }


def past_decision(decision: Decision) -> PastDecision:
    """A decision as it is remembered."""
    return PastDecision(
        at_s=decision.at_s,
        before=decision.before,
        target=decision.target,
        reason=str(decision.reason),
        limiters=tuple((str(limiter.reason), limiter.before, limiter.after) for limiter in decision.limiters),
        text=decision.text,
    )


def decision_row(decision: Decision, ahead_s: float) -> Row:
    """A decision for people and programs."""
    return past_decision_row(decision.topic, past_decision(decision), ahead_s)


def past_decision_row(topic: str, decision: PastDecision, ahead_s: float) -> Row:
    """The same of one that is remembered."""
    return {
        "topic": topic,
        "at": decision.at_s - ahead_s,
        "from": decision.before,
        "to": decision.target,
        "reason": decision.reason,
        "limiters": [{"reason": reason, "from": before, "to": after} for reason, before, after in decision.limiters],
        "text": decision.text,
    }


def worker_row(record: Record, outdated: bool, trouble: str | None, now_s: float) -> Mapping[str, Any]:
    """One worker for ``hermes workers``."""
    said = record.report
    settlements = None if said is None else said.counters.settlements
    return {
        "worker": record.worker,
        "topic": record.topic,
        "phase": "draining" if record.is_draining and record.phase != "drained" else record.phase,
        "node": record.node_id,
        "pid": said and said.pid,
        "slots": said and said.concurrency,
        "running": said and said.running_count,
        "held": said and said.held_count,
        "longest_running_s": said and said.longest_running_s,
        "age_s": now_s - record.since_s,
        "report_age_s": None if record.reported_s is None else now_s - record.heard_s,
        "outdated": outdated,
        "resources": record.size,
        "acked": 0 if settlements is None else settlements.acked,
        "retried": 0 if settlements is None else settlements.retried,
        "dead_lettered": 0 if settlements is None else settlements.dead_lettered,
        "reconnects": 0 if said is None else said.counters.reconnects,
        "lost_reason": said and said.lost_reason,
        "why": trouble,
    }
