from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hermes_ray.core.model import Bundle, Capacity, Decision, Node, Reason, Snapshot, TopicParams, WorkerCounts
from hermes_ray.core.policy import PolicyState, step

TOPICS = ("a", "b", "c")
ROOMY = Capacity(nodes=(Node(node_id="n", available=Bundle(num_cpus=1e6)),))
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
            worker=Bundle(num_cpus=draw(st.sampled_from([0.0, 0.25, 1.0]))),
        )
    return params


CAPACITIES = st.none() | st.builds(
    lambda cpus: Capacity(
        nodes=tuple(Node(node_id=str(i), available=Bundle(num_cpus=cpu)) for i, cpu in enumerate(cpus))
    ),
    st.lists(st.floats(0.0, 32.0), max_size=3),
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
