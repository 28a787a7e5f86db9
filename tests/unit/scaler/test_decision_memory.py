"""What is counted and kept of decisions that change a target."""

from __future__ import annotations

import pytest

from hermes_ray.core.model import Decision, Reason, Snapshot
from hermes_ray.scaler.decision_memory import kept_decision_count, with_decision
from hermes_ray.scaler.memory import TopicMemory


def decision(before: int, target: int, reason: Reason) -> Decision:
    seen = Snapshot(topic="orders", at_s=1.0)
    return Decision(
        topic="orders", at_s=1.0, before=before, target=target, reason=reason, limiters=(), snapshot=seen, text=""
    )


def test_decisions_are_counted_by_direction_and_reason_and_the_last_ones_are_kept() -> None:
    memory = TopicMemory()
    for before, target, reason in ((0, 1, Reason.DEMAND), (1, 3, Reason.DEMAND), (3, 2, Reason.CAPACITY)):
        memory = with_decision(memory, decision(before, target, reason), 2)
    assert (memory.counts.ups, memory.counts.downs) == (2, 1)
    assert memory.counts.decisions == {"demand": 2, "capacity": 1}
    assert [past.target for past in memory.recent_decisions] == [3, 2]


@pytest.mark.parametrize(("topics", "kept"), [(0, 30), (1, 30), (333, 30), (334, 29), (2_000, 5), (100_000, 5)])
def test_fewer_are_kept_of_each_of_many_topics_but_never_fewer_than_five(topics: int, kept: int) -> None:
    assert kept_decision_count(topics) == kept
