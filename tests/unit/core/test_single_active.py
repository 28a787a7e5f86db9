"""A queue with a single active consumer: more than one worker and a standby would only wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermes_ray.core.conditions import Condition, Troubles, conditions
from hermes_ray.core.model import (
    Capacity,
    Decision,
    Limiter,
    Node,
    Override,
    Reason,
    Snapshot,
    TopicParams,
    WorkerCounts,
)
from hermes_ray.core.policy import PolicyState, step

PARAMS = TopicParams(topic="t", concurrency=4, workers_max=40, single_active=True)
ROOMY = Capacity(nodes=(Node(node_id="n", available={"CPU": 1_000.0}),))
BUSY = Snapshot(
    topic="t",
    at_s=1_000.0,
    ready_count=412,
    held_count=8,
    arrival_rate_hz=9.0,
    service_rate_hz=2.6,
    service_p95_s=0.5,
    workers=WorkerCounts(observed=1),
)


def decide(params: TopicParams = PARAMS, seen: Snapshot = BUSY, override: Override | None = None) -> Decision:
    overrides = {} if override is None else {"t": override}
    _, (decision,) = step(PolicyState(), {"t": seen}, ROOMY, {"t": params}, 1_000.0, overrides)
    return decision


def test_the_pool_is_held_at_one_and_a_standby_and_the_sentence_says_so() -> None:
    decision = decide()
    (limiter,) = decision.limiters
    assert (decision.target, decision.wanted, decision.reason) == (2, 2, Reason.SINGLE_ACTIVE)
    assert limiter == Limiter(reason=Reason.SINGLE_ACTIVE, before=limiter.before, after=2)
    assert limiter.before > 2
    assert decision.text.endswith(
        f"; held at 2 instead of {limiter.before} by the queue's single active consumer: one works, one stands by"
    )
    assert "2 clears what waits within 300 s" in decision.text, "the standby clears nothing: 420 / (4 x 2.6 - 9)"


@pytest.mark.parametrize("policy", ["adaptive", "threshold", "fixed"])
def test_it_is_held_whatever_the_policy_the_minimum_and_the_number_there_was(policy: str) -> None:
    many = replace(BUSY, workers=WorkerCounts(observed=17))
    decision = decide(replace(PARAMS, policy=policy, workers_min=9), many)
    assert (decision.target, decision.reason) == (2, Reason.SINGLE_ACTIVE)


def test_a_pin_beyond_it_is_held_too_and_one_below_is_not() -> None:
    assert (decide(override=Override(pinned_count=7)).target) == 2
    assert decide(override=Override(pinned_count=1)).reason is Reason.PINNED
    assert decide(override=Override(paused=True)).target == 0


def test_less_than_it_is_as_ever() -> None:
    assert decide(replace(PARAMS, workers_max=1)).reason is Reason.WORKERS_MAX
    idle = replace(BUSY, ready_count=0, held_count=0, arrival_rate_hz=0.0, workers=WorkerCounts())
    assert decide(seen=idle).target == 0


def test_it_is_saturated_once_the_slots_of_the_one_that_is_served_are_busy() -> None:
    seen = replace(BUSY, workers=WorkerCounts(observed=2), utilisation_ratio=0.49, finish_rate_hz=10.0)
    assert Condition.SATURATED in conditions(seen, None, PARAMS, Troubles())
    assert Condition.SATURATED not in conditions(seen, None, replace(PARAMS, single_active=False), Troubles())
    assert Condition.SATURATED not in conditions(replace(seen, utilisation_ratio=0.4), None, PARAMS, Troubles())
