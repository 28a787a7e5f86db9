from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hermes_ray.core.model import (
    Capacity,
    Decision,
    Limiter,
    Node,
    Override,
    Reason,
    Snapshot,
    ThresholdRule,
    TopicParams,
    WorkerCounts,
)
from hermes_ray.core.policy import PolicyState, TopicState, step
from hermes_ray.core.stabilise import Window

PARAMS = TopicParams(topic="t", concurrency=1, workers_max=100, worker={"CPU": 0.25})
ROOMY = Capacity(nodes=(Node(node_id="n", available={"CPU": 1_000.0}),))
BUSY = Snapshot(
    topic="t",
    at_s=1_000.0,
    ready_count=412,
    held_count=8,
    arrival_rate_hz=31.0,
    service_rate_hz=2.6,
    service_p95_s=0.5,
    workers=WorkerCounts(observed=8),
)
IDLE = replace(BUSY, ready_count=0, held_count=0, arrival_rate_hz=0.0)


def _settled(target: int) -> PolicyState:
    """A state whose window is full of zeros: down is free."""
    return PolicyState(topics={"t": TopicState(target=target, window=Window(since_s=0.0))})


def _one(
    snapshot: Snapshot | None,
    params: TopicParams = PARAMS,
    state: PolicyState | None = None,
    capacity: Capacity | None = ROOMY,
    now_s: float = 1_000.0,
) -> Decision:
    seen = {} if snapshot is None else {"t": snapshot}
    _, decisions = step(state or PolicyState(), seen, capacity, {"t": params}, now_s)
    (decision,) = decisions
    return decision


def test_demand_grows_the_pool_at_once_and_the_sentence_says_why() -> None:
    decision = _one(BUSY)
    assert (decision.before, decision.target, decision.reason) == (8, 23, Reason.DEMAND)
    assert decision.limiters == ()
    assert decision.text == (
        "8 -> 23 workers: 412 waiting, 8 held, arrivals 31/s, one slot does 2.6/s; 23 keeps the wait under 29.5 of 30 s"
    )


def test_the_largest_number_of_workers_caps_and_says_so() -> None:
    decision = _one(BUSY, replace(PARAMS, workers_max=13))
    assert (decision.target, decision.reason) == (13, Reason.WORKERS_MAX)
    assert decision.limiters == (Limiter(reason=Reason.WORKERS_MAX, before=23, after=13),)
    assert decision.text.startswith("8 -> 13 workers: 412 waiting")
    assert decision.text.endswith("; 13 clears what waits within 150 s; capped from 23 by workers.max")


def test_the_least_number_of_workers_raises_and_says_so() -> None:
    decision = _one(replace(IDLE, workers=WorkerCounts()), replace(PARAMS, workers_min=2))
    assert (decision.before, decision.target, decision.reason) == (0, 2, Reason.WORKERS_MIN)
    assert decision.text == "0 -> 2 workers: 0 waiting, arrivals 0/s, one slot does 2.6/s; raised from 0 by workers.min"


def test_workers_still_starting_count_and_draining_ones_do_not() -> None:
    counts = WorkerCounts(observed=3, starting=5, draining=4)
    assert _one(replace(BUSY, workers=counts)).before == 8


def test_after_a_restart_nothing_shrinks_and_the_sentence_says_why() -> None:
    decision = _one(IDLE)
    assert (decision.before, decision.target, decision.reason) == (8, 8, Reason.STABILISING)
    assert decision.text == ("8 workers: 0 waiting, arrivals 0/s, one slot does 2.6/s; kept above 0 by the last 60 s")


def test_the_sentence_names_the_window_there_is_where_workers_report_seldom() -> None:
    _, (decision,) = step(PolicyState(), {"t": IDLE}, None, {"t": PARAMS}, 0.0, report_interval_s=40.0)
    assert decision.text.endswith("kept above 0 by the last 120 s")


def test_a_full_quiet_window_lets_the_pool_go_to_zero() -> None:
    decision = _one(IDLE, state=_settled(8))
    assert (decision.target, decision.reason, decision.text[:14]) == (0, Reason.DEMAND, "8 -> 0 workers")


def test_a_target_that_stays_for_want_of_a_reason_is_steady() -> None:
    decision = _one(BUSY, state=_settled(23))
    assert (decision.before, decision.target, decision.reason) == (23, 23, Reason.STEADY)


@pytest.mark.parametrize("signal", ["ready_count", "held_count", "arrival_rate_hz", "service_rate_hz"])
def test_a_missing_signal_holds(signal: str) -> None:
    unknown: dict[str, Any] = {signal: None}
    decision = _one(replace(BUSY, **unknown), state=_settled(50))
    assert (decision.target, decision.reason, decision.wanted) == (50, Reason.NO_DATA, 50)
    assert decision.text.endswith("; held, because data is missing")


def test_a_topic_nobody_has_seen_holds() -> None:
    decision = _one(None, state=_settled(5))
    assert (decision.target, decision.reason, decision.snapshot.at_s) == (5, Reason.NO_DATA, 1_000.0)
    assert decision.text == "5 workers: unknown waiting, arrivals unknown; held, because data is missing"


def test_what_waits_gets_a_first_worker_before_anything_is_known_of_the_service() -> None:
    unknown = replace(BUSY, service_rate_hz=None, workers=WorkerCounts(), held_count=0)
    decision = _one(unknown)
    assert (decision.before, decision.target, decision.reason) == (0, 1, Reason.FIRST_WORKER)
    assert decision.text == "0 -> 1 worker: 412 waiting, arrivals 31/s; a first worker for what waits"


def test_an_unknown_capacity_lets_nothing_grow_and_takes_nothing_away() -> None:
    grow = _one(BUSY, state=_settled(10), capacity=None)
    assert (grow.target, grow.reason) == (10, Reason.CAPACITY)
    assert grow.text.endswith("; cut from 23 by a cluster whose room is unknown")
    assert _one(BUSY, state=_settled(40), capacity=None).target == 23
    assert _one(BUSY, state=_settled(5), capacity=None).target == 8


def test_a_full_cluster_cuts_the_target_and_says_so() -> None:
    decision = _one(BUSY, capacity=Capacity(nodes=(Node(node_id="n", available={"CPU": 3.0}),)))
    assert (decision.target, decision.reason) == (12, Reason.CAPACITY)
    assert decision.limiters == (Limiter(reason=Reason.CAPACITY, before=23, after=12),)
    assert decision.wanted == 23
    assert decision.text.endswith("; cut from 23 by the room in the cluster: 0.25 CPU short on every node")


def test_limiters_are_listed_in_the_order_they_acted() -> None:
    decision = _one(
        replace(BUSY, ready_count=0, held_count=0),
        replace(PARAMS, workers_max=13),
        state=PolicyState(topics={"t": TopicState(target=20, window=Window(since_s=0.0, peaks=((990.0, 18),)))}),
        capacity=Capacity(nodes=(Node(node_id="n", available={"CPU": 1.0}),)),
    )
    assert [(limiter.reason, limiter.before, limiter.after) for limiter in decision.limiters] == [
        (Reason.STABILISING, 15, 18),
        (Reason.WORKERS_MAX, 18, 13),
        (Reason.CAPACITY, 13, 4),
    ]
    assert (decision.target, decision.reason) == (4, Reason.CAPACITY)


def test_fixed_keeps_the_largest_number_whatever_is_seen() -> None:
    params = replace(PARAMS, policy="fixed", workers_max=6)
    assert [_one(seen, params).target for seen in (BUSY, IDLE, None)] == [6, 6, 6]
    assert _one(BUSY, params).text.endswith("; fixed at workers.max")


def test_threshold_follows_go_hermes_and_remembers_between_steps() -> None:
    params = replace(PARAMS, policy="threshold", threshold=ThresholdRule(interval_s=10.0), workers_min=1)
    state, targets, reasons = PolicyState(), [], []
    for second in range(0, 21, 5):
        state, (decision,) = step(state, {"t": BUSY}, ROOMY, {"t": params}, float(second))
        targets.append(decision.target)
        reasons.append(decision.reason)
    assert targets == [8, 8, 8, 8, 9]
    assert reasons == [Reason.STEADY] * 4 + [Reason.THRESHOLD]


def test_threshold_never_strands_messages_at_zero_workers() -> None:
    params = replace(PARAMS, policy="threshold")
    few = replace(BUSY, ready_count=3, held_count=0, workers=WorkerCounts())
    assert _one(few, params).target == 1
    assert _one(replace(few, ready_count=0), params).target == 0


def test_each_topic_gets_one_decision_and_a_removed_one_is_forgotten() -> None:
    params = {topic: replace(PARAMS, topic=topic) for topic in ("a", "b")}
    seen = {topic: replace(BUSY, topic=topic) for topic in params}
    state, decisions = step(PolicyState(), seen, ROOMY, params, 0.0)
    assert [decision.topic for decision in decisions] == ["a", "b"]
    state, decisions = step(state, seen, ROOMY, {"b": params["b"]}, 1.0)
    assert [decision.topic for decision in decisions] == ["b"]
    assert (state.target("a"), state.target("b")) == (None, 23)


def test_a_decision_carries_what_it_saw_and_when() -> None:
    decision = _one(BUSY)
    assert (decision.topic, decision.at_s, decision.snapshot) == ("t", 1_000.0, BUSY)


FREE = Override()
PINNED = Override(pinned_count=20)
PAUSED = Override(paused=True)


def _follow(
    *spells: tuple[Override, Snapshot, float],
    params: TopicParams = PARAMS,
    state: PolicyState | None = None,
    capacity: Capacity | None = ROOMY,
) -> list[Decision]:
    """The last decision of each spell: an override, what is seen, and for how many seconds, from 1,000 s on."""
    state, now_s, last = state or _settled(8), 1_000.0, list[Decision]()
    for override, seen, for_s in spells:
        decisions: tuple[Decision, ...] = ()
        for _ in range(int(for_s)):
            state, decisions = step(state, {"t": seen}, capacity, {"t": params}, now_s, {"t": override})
            now_s += 1.0
        last.extend(decisions)
    return last


@pytest.mark.parametrize(
    ("override", "target", "reason", "words"),
    [
        (Override(stopped=True, paused=True, pinned_count=20), 0, Reason.STOPPED, "stopped by hand"),
        (Override(paused=True, pinned_count=20), 0, Reason.PAUSED, "paused by hand"),
        (Override(pinned_count=20), 20, Reason.PINNED, "pinned by hand"),
    ],
)
def test_stop_goes_before_pause_before_pin_before_policy(
    override: Override, target: int, reason: Reason, words: str
) -> None:
    (decision,) = _follow((override, BUSY, 1))
    assert (decision.before, decision.target, decision.reason, decision.limiters) == (8, target, reason, ())
    assert decision.text == f"8 -> {target} workers: 412 waiting, 8 held, arrivals 31/s, one slot does 2.6/s; {words}"


@pytest.mark.parametrize("policy", ["adaptive", "threshold", "fixed"])
def test_an_override_that_says_nothing_changes_nothing(policy: str) -> None:
    params = replace(PARAMS, policy=policy)
    state = _settled(8)
    free = step(state, {"t": BUSY}, ROOMY, {"t": params}, 1_000.0)
    assert step(state, {"t": BUSY}, ROOMY, {"t": params}, 1_000.0, {"t": FREE, "gone": PAUSED}) == free


@pytest.mark.parametrize("count", [1, 50])
def test_a_pin_rules_outside_of_the_smallest_and_the_largest_number_of_workers(count: int) -> None:
    (decision,) = _follow((Override(pinned_count=count), BUSY, 1), params=replace(PARAMS, workers_min=2, workers_max=9))
    assert (decision.target, decision.reason) == (count, Reason.PINNED)


def test_a_paused_topic_gets_no_minimum_and_no_first_worker() -> None:
    (decision,) = _follow((PAUSED, BUSY, 1), params=replace(PARAMS, workers_min=3))
    assert (decision.target, decision.reason) == (0, Reason.PAUSED)


def test_capacity_limits_a_pin_and_says_so() -> None:
    small = Capacity(nodes=(Node(node_id="n", available={"CPU": 3.0}),))
    (decision,) = _follow((PINNED, BUSY, 1), capacity=small)
    assert (decision.target, decision.reason) == (12, Reason.CAPACITY)
    assert decision.text.endswith("; cut from 20 by the room in the cluster: 0.25 CPU short on every node")


def test_a_pin_ends_at_its_time() -> None:
    pin = Override(pinned_count=50, pinned_until_s=1_010.0)
    assert [d.target for d in _follow((pin, BUSY, 10), (pin, BUSY, 1))] == [50, 23]


def test_a_topic_first_seen_under_a_pause_has_what_lives_as_its_past() -> None:
    paused, resumed = _follow((PAUSED, BUSY, 5), (FREE, replace(BUSY, ready_count=None), 1), state=PolicyState())
    assert (paused.target, resumed.target, resumed.reason) == (0, 8, Reason.NO_DATA)


def test_a_resumed_topic_goes_up_at_once_to_what_waits() -> None:
    paused, resumed = _follow((PAUSED, replace(BUSY, workers=WorkerCounts()), 600), (FREE, BUSY, 1))
    assert (paused.target, resumed.before, resumed.target, resumed.reason) == (0, 0, 23, Reason.DEMAND)


def test_a_pin_does_not_count_as_demand_when_it_ends() -> None:
    calm = replace(BUSY, ready_count=0, held_count=0)
    pinned, resumed = _follow((PINNED, calm, 60), (FREE, calm, 1))
    assert (pinned.target, resumed.target, resumed.reason) == (20, 15, Reason.DEMAND)


def test_demand_seen_under_a_short_pin_holds_for_its_minute_and_no_longer() -> None:
    calm = replace(BUSY, ready_count=0, held_count=0)
    short = _follow((FREE, BUSY, 1), (PINNED, calm, 10), (FREE, calm, 49), (FREE, calm, 1))
    assert [d.target for d in short] == [23, 20, 20, 15]


def test_a_topic_resumed_without_data_has_what_it_had_and_loses_nothing() -> None:
    blind = replace(BUSY, ready_count=None)
    assert [d.target for d in _follow((PAUSED, BUSY, 100), (FREE, blind, 1))] == [0, 8]
    assert [d.target for d in _follow((PINNED, BUSY, 100), (PAUSED, BUSY, 100), (FREE, blind, 1))] == [20, 0, 8]
    assert [d.target for d in _follow((PINNED, BUSY, 100), (FREE, blind, 1))] == [20, 20]


def test_the_threshold_rule_goes_on_from_where_it_was_and_counts_anew() -> None:
    params = replace(PARAMS, policy="threshold", threshold=ThresholdRule(interval_s=10.0))
    paused = _follow((FREE, BUSY, 15), (PAUSED, BUSY, 600), (FREE, BUSY, 20), (FREE, BUSY, 1), params=params)
    assert [d.target for d in paused] == [8, 0, 8, 9]


@pytest.mark.parametrize("since_s", [None, 0.0])
@pytest.mark.parametrize("policy", ["adaptive", "threshold"])
def test_what_was_wanted_before_the_room_cut_it_is_nobodys_target(since_s: float | None, policy: str) -> None:
    """Room comes while nothing is known: what is held is what there was; what was wanted is remembered beside it."""
    cut = PolicyState(topics={"t": TopicState(target=4, wanted=20, window=Window(since_s=since_s))})
    decision = _one(replace(BUSY, ready_count=None), replace(PARAMS, policy=policy), state=cut)
    assert (decision.target, decision.wanted) == (4, 20)


def test_what_is_wanted_is_the_most_of_a_minute_and_goes_down_with_the_target() -> None:
    """Cut to 2; of 23 that were wanted 20 s ago none is left to want."""
    window = Window(since_s=0.0, peaks=((980.0, 23),))
    cut = PolicyState(topics={"t": TopicState(target=2, wanted=23, window=window)})
    decision = _one(IDLE, state=cut)
    assert (decision.target, decision.reason, decision.wanted) == (2, Reason.STABILISING, 23)
    later = _one(IDLE, state=cut, now_s=1_100.0)
    assert (later.target, later.wanted) == (2, 23), "away for longer than its window: nothing goes down yet"
