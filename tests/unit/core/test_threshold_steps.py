"""The bounds of a step of the threshold rule, as limiters of a decision."""

from __future__ import annotations

import pytest

from hermes_ray.core.model import (
    Capacity,
    Limiter,
    Node,
    Reason,
    Snapshot,
    ThresholdRule,
    TopicParams,
    WorkerCounts,
)
from hermes_ray.core.policy import PolicyState, step

ROOMY = Capacity(nodes=(Node(node_id="n", available={"CPU": 1_000.0}),))
STEPS = [
    (412, ThresholdRule(interval_s=10.0, up_checks=1, max_step=3), 43, Reason.MAX_STEP, 48, "capped from 48"),
    (412, ThresholdRule(interval_s=10.0, up_checks=1, min_step=9), 49, Reason.MIN_STEP, 48, "raised from 48"),
    (5, ThresholdRule(interval_s=10.0, down_checks=1, max_step=3), 37, Reason.MAX_STEP, 36, "kept above 36"),
    (5, ThresholdRule(interval_s=10.0, down_checks=1, min_step=9), 31, Reason.MIN_STEP, 36, "lowered from 36"),
]


@pytest.mark.parametrize(("ready", "rule", "target", "reason", "asked", "words"), STEPS)
def test_the_bounds_of_a_threshold_step_are_limiters(
    ready: int, rule: ThresholdRule, target: int, reason: Reason, asked: int, words: str
) -> None:
    params = TopicParams(topic="t", policy="threshold", workers_max=100, threshold=rule)
    seen = Snapshot(topic="t", at_s=0.0, ready_count=ready, workers=WorkerCounts(observed=40))
    state, _ = step(PolicyState(), {"t": seen}, ROOMY, {"t": params}, 0.0)
    _, (decision,) = step(state, {"t": seen}, ROOMY, {"t": params}, 10.0)
    assert (decision.before, decision.target, decision.reason) == (40, target, reason)
    assert decision.limiters == (Limiter(reason=reason, before=asked, after=target),)
    assert decision.text == f"40 -> {target} workers: {ready} waiting, arrivals unknown; {words} by {reason}"


def test_the_largest_number_of_workers_limits_after_the_bounds_of_the_step() -> None:
    rule = ThresholdRule(interval_s=10.0, up_checks=1, max_step=3)
    params = TopicParams(topic="t", policy="threshold", workers_max=42, threshold=rule)
    seen = Snapshot(topic="t", at_s=0.0, ready_count=412, workers=WorkerCounts(observed=40))
    state, _ = step(PolicyState(), {"t": seen}, ROOMY, {"t": params}, 0.0)
    _, (decision,) = step(state, {"t": seen}, ROOMY, {"t": params}, 10.0)
    assert [(limiter.reason, limiter.before, limiter.after) for limiter in decision.limiters] == [
        (Reason.MAX_STEP, 48, 43),
        (Reason.WORKERS_MAX, 43, 42),
    ]
