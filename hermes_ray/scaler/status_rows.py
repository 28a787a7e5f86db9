"""What ``hermes status`` and the other looks show; the keys are an interface: they are only added to."""

from __future__ import annotations

from typing import Any

from hermes_ray.broker.depth import ProbeFailure
from hermes_ray.core.histogram import quantile
from hermes_ray.core.model import Decision, Override, Reason
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.memory import TopicMemory
from hermes_ray.scaler.roster import Record
from hermes_ray.telemetry.figures import TopicFigures

__all__ = ["decision_row", "override_row", "topic_row", "worker_row"]

Row = dict[str, Any]


def topic_row(figures: TopicFigures, memory: TopicMemory, fleet: Fleet, failure: ProbeFailure | None) -> Row:
    """One topic's part of ``hermes status --json``; unknown is None. ``failure``: why its last depth probe failed."""
    seen, workers = figures.snapshot, figures.snapshot.workers
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
            "target": figures.target,
        },
        "workers_max": fleet.params[figures.topic].workers_max,
        "outdated": sum(fleet.is_outdated(record) for record in fleet.roster.of(figures.topic)),
        "slots": figures.slot_count,
        "override": override_row(memory.override, seen.at_s),
        "conditions": sorted(map(str, figures.conditions)),
        "last_decision": memory.recent_decisions[-1] if memory.recent_decisions else None,
        "waits": {f"p{percent}_s": quantile(figures.counters.wait, percent / 100) for percent in (50, 95, 99)},
        "start_error": fleet.start_error(figures.topic),
        "depth_error": None if failure is None else failure.text,
        "handled": figures.counters.acked,
        "retried": figures.counters.retried,
        "dead_lettered": figures.counters.dead_lettered,
    }


def override_row(override: Override, now_s: float) -> Row | None:
    """What rules instead of the policy, None if nothing does."""
    winner = override.winner(now_s)
    if winner is None:
        return None
    pinned = winner[0] is Reason.PINNED
    return {
        "kind": str(winner[0]),
        "count": override.pinned_count if pinned else None,
        "until": override.pinned_until_s if pinned else None,
    }


def decision_row(decision: Decision) -> Row:
    """A decision for people and programs."""
    return {
        "topic": decision.topic,
        "at": decision.at_s,
        "from": decision.before,
        "to": decision.target,
        "reason": str(decision.reason),
        "limiters": [
            {"reason": str(limiter.reason), "from": limiter.before, "to": limiter.after}
            for limiter in decision.limiters
        ],
        "text": decision.text,
    }


def worker_row(record: Record, outdated: bool, now_s: float) -> Row:
    """One worker for ``hermes workers``."""
    said = record.report or {}
    return {
        "worker": record.worker,
        "topic": record.topic,
        "phase": "draining" if record.is_draining and record.phase != "drained" else record.phase,
        "node": record.node_id,
        "pid": said.get("pid"),
        "slots": said.get("concurrency"),
        "running": said.get("running"),
        "held": said.get("held"),
        "longest_running_s": said.get("longest_running_s"),
        "age_s": now_s - record.since_s,
        "report_age_s": None if record.reported_s is None else now_s - record.reported_s,
        "outdated": outdated,
        "acked": record.counters.acked,
        "retried": record.counters.retried,
        "dead_lettered": record.counters.dead_lettered,
        "reconnects": record.counters.reconnects,
        "lost_reason": said.get("lost_reason"),
    }
