"""What is remembered of decisions that changed a target: how many there were of each kind, and the last ones."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from hermes_ray.core.model import Decision
from hermes_ray.scaler.memory import TopicMemory
from hermes_ray.scaler.status_rows import past_decision
from hermes_ray.telemetry.figures import TopicCounts

__all__ = ["kept_decision_count", "with_decision"]

MOST_KEPT, LEAST_KEPT, ALL_KEPT = 30, 5, 10_000


def kept_decision_count(topic_count: int) -> int:
    """Decisions that are remembered of each topic: 30, fewer from 334 topics on, at least 5."""
    return max(LEAST_KEPT, min(MOST_KEPT, ALL_KEPT // max(1, topic_count)))


def with_decision(memory: TopicMemory, decision: Decision, kept_count: int) -> TopicMemory:
    """The memory after a decision that changed the target; it holds the last ``kept_count``."""
    return structs.replace(
        memory,
        counts=_counted(memory.counts, decision),
        recent_decisions=(*memory.recent_decisions, past_decision(decision))[-kept_count:],
    )


def _counted(counts: TopicCounts, decision: Decision) -> TopicCounts:
    reason, grew = str(decision.reason), decision.target > decision.before
    decisions: Mapping[str, int] = counts.decisions
    return structs.replace(
        counts,
        decisions={**decisions, reason: decisions.get(reason, 0) + 1},
        ups=counts.ups + grew,
        downs=counts.downs + (not grew),
    )
