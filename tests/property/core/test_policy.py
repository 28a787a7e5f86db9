from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hermes_ray.core.model import (
    Capacity,
    Decision,
    Node,
    Override,
    Reason,
    Snapshot,
    TopicParams,
    WorkerCounts,
)
from hermes_ray.core.policy import PolicyState, step
from hermes_ray.core.share import share
from hermes_ray.core.stabilise import WINDOW_S

TOPICS = ("a", "b", "c")
ROOMY = Capacity(nodes=(Node(node_id="n", available={"CPU": 1e6}),))
COUNTS = st.none() | st.integers(0, 100_000)
RATES = st.none() | st.floats(0.0, 1e5)
SERVICE = st.none() | st.floats(1e-5, 1e5)

SNAPSHOTS = st.builds(
    Snapshot,
    topic=st.just("?"),
    at_s=st.just(0.0),
    ready_count=COUNTS,
    held_count=COUNTS,
    arrival_rate_hz=RATES,
    service_rate_hz=SERVICE,
    service_p95_s=st.none() | st.floats(0.0, 1e5),
    workers=st.builds(WorkerCounts, observed=st.integers(0, 20), starting=st.integers(0, 20)),
)


@st.composite
def _params(draw: st.DrawFn) -> dict[str, TopicParams]:
    params = {}
    for topic in TOPICS[: draw(st.integers(1, 3))]:
        low, high = sorted((draw(st.integers(0, 30)), draw(st.integers(1, 60))))
        params[topic] = TopicParams(
            topic=topic,
            policy=draw(st.sampled_from(["adaptive", "adaptive", "threshold", "fixed"])),
            weight=draw(st.floats(0.1, 100.0)),
            latency_objective_s=draw(st.floats(0.1, 1_000.0)),
            workers_min=low,
            workers_max=high,
            concurrency=draw(st.integers(1, 64)),
            worker={"CPU": draw(st.sampled_from([0.0, 0.25, 1.0]))},
        )
    return params


CAPACITIES = st.none() | st.builds(
    lambda cpus: Capacity(nodes=tuple(Node(node_id=str(i), available={"CPU": cpu}) for i, cpu in enumerate(cpus))),
    st.lists(st.integers(0, 320_000).map(lambda parts: parts / 10_000), max_size=3),  # what Ray can count
)
OVERRIDES = st.dictionaries(
    st.sampled_from(TOPICS),
    st.builds(
        Override,
        stopped=st.booleans(),
        paused=st.booleans(),
        pinned_count=st.none() | st.integers(0, 200),
        pinned_until_s=st.none() | st.floats(0.0, 500.0),
    ),
)
STEPS = st.lists(
    st.tuples(st.floats(0.1, 100.0), st.dictionaries(st.sampled_from(TOPICS), SNAPSHOTS), CAPACITIES), max_size=15
)


def _play(
    params: dict[str, TopicParams], steps: Sequence[tuple[float, dict[str, Snapshot], Capacity | None]]
) -> list[tuple[Decision, ...]]:
    state, now_s, played = PolicyState(), 0.0, []
    for wait_s, seen, capacity in steps:
        now_s += wait_s
        state, decisions = step(state, seen, capacity, params, now_s)
        played.append(decisions)
    return played


@given(_params(), STEPS)
def test_whatever_is_seen_targets_stay_within_limits_and_decisions_explain_themselves(
    params: dict[str, TopicParams], steps: Sequence[tuple[float, dict[str, Snapshot], Capacity | None]]
) -> None:
    for decisions in _play(params, steps):
        assert [decision.topic for decision in decisions] == list(params)
        for decision in decisions:
            assert 0 <= decision.target <= params[decision.topic].workers_max
            assert "\n" not in decision.text
            if decision.limiters:
                assert decision.reason is decision.limiters[-1].reason
                assert decision.limiters[-1].after == decision.target
            for earlier, later in pairwise(decision.limiters):
                assert earlier.after == later.before
            elsewhere = decision.reason is Reason.CAPACITY
            assert elsewhere or decision.target >= params[decision.topic].workers_min


@given(_params(), STEPS)
def test_each_decision_starts_where_the_last_one_ended(
    params: dict[str, TopicParams], steps: Sequence[tuple[float, dict[str, Snapshot], Capacity | None]]
) -> None:
    played = _play(params, steps)
    for earlier, later in pairwise(played):
        assert [decision.before for decision in later] == [decision.target for decision in earlier]


@given(_params(), STEPS)
def test_a_queue_that_serves_one_consumer_never_gets_more_than_a_standby_beside_it(
    params: dict[str, TopicParams], steps: Sequence[tuple[float, dict[str, Snapshot], Capacity | None]]
) -> None:
    for decisions in _play({topic: replace(p, single_active=True) for topic, p in params.items()}, steps):
        for decision in decisions:
            assert max(decision.target, decision.wanted) <= min(2, params[decision.topic].workers_max)
            assert not decision.limiters or decision.limiters[-1].after == decision.target


@given(_params(), STEPS)
def test_the_same_input_gives_the_same_decisions(
    params: dict[str, TopicParams], steps: Sequence[tuple[float, dict[str, Snapshot], Capacity | None]]
) -> None:
    assert _play(params, steps) == _play(params, steps)


@given(_params(), STEPS, st.sampled_from(["ready_count", "held_count", "arrival_rate_hz"]))
def test_missing_data_never_takes_an_adaptive_worker_away(
    params: dict[str, TopicParams], steps: Sequence[tuple[float, dict[str, Snapshot], Capacity | None]], signal: str
) -> None:
    adaptive = {topic: replace(p, policy="adaptive") for topic, p in params.items()}
    unknown: dict[str, Any] = {signal: None}
    blind = [(w, {t: replace(s, **unknown) for t, s in seen.items()}, ROOMY) for w, seen, _ in steps]
    for decisions in _play(adaptive, blind):
        for decision in decisions:
            if signal != "arrival_rate_hz" or decision.snapshot.service_rate_hz is not None:
                assert decision.target >= min(decision.before, adaptive[decision.topic].workers_max)


@given(_params(), st.dictionaries(st.sampled_from(TOPICS), SNAPSHOTS), CAPACITIES)
def test_constant_input_comes_to_rest(
    params: dict[str, TopicParams], seen: dict[str, Snapshot], capacity: Capacity | None
) -> None:
    constant = {topic: replace(p, policy="adaptive") for topic, p in params.items()}
    played = _play(constant, [(1.0, seen, capacity)] * 130)
    assert all(decision.target == decision.before for decisions in played[62:] for decision in decisions)


@given(SNAPSHOTS, st.integers(0, 100_000))
def test_a_larger_backlog_never_wants_fewer_workers(snapshot: Snapshot, more: int) -> None:
    params = {"a": TopicParams(topic="a", workers_max=10**12)}
    grown = replace(snapshot, ready_count=None if snapshot.ready_count is None else snapshot.ready_count + more)
    small, large = (step(PolicyState(), {"a": seen}, ROOMY, params, 0.0)[1][0].target for seen in (snapshot, grown))
    assert large >= small


def _rulings(overrides: dict[str, Override], now_s: float) -> dict[str, tuple[Reason, int]]:
    winners = {topic: override.winner(now_s) for topic, override in overrides.items()}
    return {topic: winner for topic, winner in winners.items() if winner is not None}


@given(_params(), STEPS, st.lists(OVERRIDES, min_size=15, max_size=15))
def test_whatever_people_say_targets_fit_the_cluster_and_what_is_paused_or_stopped_gets_nothing(
    params: dict[str, TopicParams],
    steps: Sequence[tuple[float, dict[str, Snapshot], Capacity | None]],
    said: Sequence[dict[str, Override]],
) -> None:
    state, now_s = PolicyState(), 0.0
    for (wait_s, seen, capacity), overrides in zip(steps, said, strict=False):
        now_s += wait_s
        state, decisions = step(state, seen, capacity, params, now_s, overrides)
        rulings = _rulings(overrides, now_s)
        for decision in decisions:
            reason, count = rulings.get(decision.topic, (None, params[decision.topic].workers_max))
            assert 0 <= decision.target <= count
            if reason is not None:
                assert decision.reason in (reason, Reason.CAPACITY)
                assert (decision.target == count) == (decision.reason is reason)
        if capacity is not None:
            sizes = [(d.target, params[d.topic].worker.get("CPU", 0.0)) for d in decisions]
            free = sum(node.available.get("CPU", 0.0) for node in capacity.nodes)
            assert sum(target * cpus for target, cpus in sizes) <= free + 1e-6


@given(_params(), CAPACITIES, st.dictionaries(st.sampled_from(TOPICS), st.integers(1, 20), min_size=1))
def test_what_cannot_start_costs_others_nothing_and_has_the_room_that_is_left(
    params: dict[str, TopicParams], capacity: Capacity | None, startable: dict[str, int]
) -> None:
    targets = {topic: p.workers_max for topic, p in params.items()}
    first = {topic: min(target, startable.get(topic, target)) for topic, target in targets.items()}
    room = ROOMY if capacity is None else capacity
    without = {topic: got.granted for topic, got in share(first, params, room).items()}
    granted = {topic: got.granted for topic, got in share(targets, params, room, startable=startable).items()}
    for topic in params:
        assert granted[topic] >= without[topic]
        assert topic in startable or granted[topic] == without[topic]
    for topic, p in params.items():
        cpus = p.worker["CPU"]
        free = sum(node.available["CPU"] for node in room.nodes) - sum(
            granted[t] * params[t].worker["CPU"] for t in params
        )
        assert granted[topic] == targets[topic] or not cpus or len(room.nodes) != 1 or free < cpus


@given(_params(), STEPS, st.sampled_from([Override(paused=True), Override(stopped=True)]))
def test_a_paused_or_stopped_topic_takes_nothing_from_others(
    params: dict[str, TopicParams],
    steps: Sequence[tuple[float, dict[str, Snapshot], Capacity | None]],
    override: Override,
) -> None:
    """The others get what they would get if it were not there at all."""
    others = {topic: p for topic, p in params.items() if topic != "a"}
    with_it, without, now_s = PolicyState(), PolicyState(), 0.0
    for wait_s, seen, capacity in steps:
        now_s += wait_s
        with_it, (its, *beside) = step(with_it, seen, capacity, params, now_s, {"a": override})
        without, alone = step(without, seen, capacity, others, now_s)
        assert its.target == 0
        assert tuple(beside) == alone


@given(_params(), STEPS, OVERRIDES, st.integers(1, 14))
def test_when_an_override_ends_targets_are_at_once_between_demand_now_and_the_most_of_the_last_minute(
    params: dict[str, TopicParams],
    steps: Sequence[tuple[float, dict[str, Snapshot], Capacity | None]],
    overrides: dict[str, Override],
    length: int,
) -> None:
    """Above what demand alone wants, and never above what there would be without the override."""
    adaptive = {topic: replace(p, policy="adaptive") for topic, p in params.items()}
    untouched, ruled, now_s, watched_since_s = PolicyState(), PolicyState(), 0.0, 0.0
    for number, (wait_s, seen, _) in enumerate(steps):
        now_s += wait_s
        if number == 0 or wait_s > WINDOW_S:
            watched_since_s = now_s
        known = {topic: _known(seen.get(topic), topic) for topic in adaptive}
        rules = overrides if number < length else {}
        _, least = step(PolicyState(), known, ROOMY, adaptive, now_s)
        ruled, decisions = step(ruled, known, ROOMY, adaptive, now_s, rules)
        untouched, most = step(untouched, known, ROOMY, adaptive, now_s)
        if number >= length and now_s >= watched_since_s + WINDOW_S:
            for low, decision, high in zip(least, decisions, most, strict=True):
                assert low.target <= decision.target <= high.target


def _known(snapshot: Snapshot | None, topic: str) -> Snapshot:
    seen = snapshot or Snapshot(topic=topic, at_s=0.0)
    return replace(
        seen,
        ready_count=seen.ready_count or 0,
        held_count=seen.held_count or 0,
        arrival_rate_hz=seen.arrival_rate_hz or 0.0,
        service_rate_hz=seen.service_rate_hz or 1.0,
        workers=WorkerCounts(),
    )
