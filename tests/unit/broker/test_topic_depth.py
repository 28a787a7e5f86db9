"""Which queues of a topic are due for a look, second by second, and what the looks add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from hermes_ray.broker.bindings import Binding
from hermes_ray.broker.declares import Ask
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topic_depth import TURN_S, TopicDepth, pause_s, turn
from hermes_ray.broker.topology import queue_arguments
from hermes_ray.core.model import Probe

TOPOLOGY = TopicTopology(topic="t", queue="q", rungs_ms=(1000, 1414, 2000))
DEAD = "q.dead"
W1, W2 = "q.wait.1000", "q.wait.1414"


def look(depth: TopicDepth, now_s: float, counts: Mapping[str, int] | None = None) -> list[str]:
    """One look in which each queue holds what ``counts`` says, else nothing; the queues that were asked for."""
    asks = depth.due(now_s)
    for ask in asks:
        depth.answered(ask, (counts or {}).get(ask.queue, 0), at_s=1e9 + now_s, now_s=now_s)
    return [ask.queue for ask in asks]


def looks(depth: TopicDepth, since_s: int, until_s: int, counts: Mapping[str, int] | None = None) -> list[list[str]]:
    return [look(depth, float(second), counts) for second in range(since_s, until_s)]


def refuse(depth: TopicDepth, queue: str, now_s: float, code: int | None = 404) -> Ask | None:
    """One look in which ``queue`` is refused and the others are empty; what is asked instead."""
    instead = None
    for ask in depth.due(now_s):
        if ask.queue == queue:
            instead = depth.refused(ask, code, "no queue", now_s)
        else:
            depth.answered(ask, 0, at_s=now_s, now_s=now_s)
    return instead


def counted(depth: TopicDepth) -> tuple[int, int, int | None]:
    probe = depth.probe
    assert probe is not None
    return probe.ready_count, probe.retrying_count, probe.dead_count


def test_the_first_look_is_at_all_that_is_known_to_exist() -> None:
    depth = TopicDepth(TOPOLOGY)
    depth.waits_exist([1000])
    assert look(depth, 0.0, {"q": 7, W1: 3, DEAD: 2}) == ["q", W1, DEAD]
    assert depth.probe == Probe(at_s=1e9, ready_count=7, retrying_count=3, dead_count=2)


def test_the_main_queue_is_looked_at_each_time_and_the_others_once_in_ten_seconds() -> None:
    depth = TopicDepth(TOPOLOGY)
    depth.waits_exist([1000])
    seen = looks(depth, 0, 100)
    assert all(queues[0] == "q" for queues in seen)
    for queue in (W1, DEAD):
        seconds = [second for second, queues in enumerate(seen) if queue in queues]
        assert len(seconds) <= 15
        assert max(later - earlier for earlier, later in pairwise(seconds)) <= 10


def test_the_turns_of_many_topics_do_not_fall_together() -> None:
    topics = [f"topic_{number}" for number in range(1000)]
    begun = [sum(turn(second, topic) != turn(second - 1.0, topic) for topic in topics) for second in range(100, 108)]
    assert sum(begun) == 1000
    assert max(begun) < 2 * 1000 / TURN_S


def test_a_wait_queue_that_holds_messages_is_looked_at_right_behind_the_main_queue_each_time() -> None:
    depth = TopicDepth(TOPOLOGY)
    depth.waits_exist([1000, 1414])
    look(depth, 0.0, {W1: 5})
    assert all(queues[:3] == ["q", W1, W2] for queues in looks(depth, 1, 40, {W1: 5}))


def test_after_the_last_message_came_back_all_wait_queues_are_watched_for_half_a_minute() -> None:
    depth = TopicDepth(TOPOLOGY)
    depth.waits_exist([1000, 1414])
    look(depth, 0.0, {W1: 5})
    seen = looks(depth, 1, 100)
    assert all(W2 in queues for queues in seen[:29])
    assert sum(W2 in queues for queues in seen[30:]) <= 9


def test_a_retry_has_all_wait_queues_looked_at_in_every_pass() -> None:
    depth = TopicDepth(TOPOLOGY)
    depth.waits_exist([1000, 1414])
    looks(depth, 0, 3)
    depth.retried(3.0)
    assert all(queues[:3] == ["q", W1, W2] for queues in looks(depth, 3, 20))


def test_a_new_wait_queue_is_looked_at_in_the_next_pass() -> None:
    depth = TopicDepth(TOPOLOGY)
    looks(depth, 0, 20)
    depth.waits_exist([1000])
    assert look(depth, 20.0, {W1: 4})[:2] == ["q", W1]
    assert counted(depth) == (0, 4, 0)


def test_nobody_looks_for_wait_queues_that_nobody_has_mentioned() -> None:
    assert not any(W1 in queues for queues in looks(TopicDepth(TOPOLOGY), 0, 60))


def test_the_wait_queues_of_a_passive_topology_are_taken_to_exist() -> None:
    depth = TopicDepth(replace(TOPOLOGY, declare=False))
    assert look(depth, 0.0) == ["q", W1, W2, "q.wait.2000", DEAD]


def test_a_vanished_wait_queue_is_forgotten_until_a_retry_half_a_minute_later_may_have_made_it_anew() -> None:
    depth = TopicDepth(TOPOLOGY)
    depth.waits_exist([1000, 1414])
    look(depth, 0.0, {W1: 5, W2: 1})
    assert refuse(depth, W1, 1.0) is None
    assert counted(depth) == (0, 0, 0)
    assert depth.gone_ms == {1000}
    assert depth.failure is None
    for second in range(2, 30):
        depth.waits_exist([1000, 1414])
        depth.retried(float(second))
        assert W1 not in look(depth, float(second))
    depth.waits_exist([1000, 1414])
    assert W1 not in look(depth, 32.0)
    depth.retried(33.0)
    assert W1 in look(depth, 33.0, {W1: 2})
    assert (counted(depth)[1], depth.gone_ms) == (2, frozenset())


def test_a_wait_queue_that_stays_away_is_looked_for_less_and_less_however_much_is_retried() -> None:
    depth = TopicDepth(TOPOLOGY)
    depth.waits_exist([1000])
    missed = []
    for second in range(3600):
        depth.retried(float(second))
        asks = depth.due(float(second))
        if any(ask.queue == W1 for ask in asks):
            missed.append(second)
        for ask in asks:
            if ask.queue == W1:
                depth.refused(ask, 404, "no queue", float(second))
            else:
                depth.answered(ask, 0, 0.0, float(second))
    assert missed == [0, 30, 90, 210, 450, 930, 1890]


@pytest.mark.parametrize("queue", ["q", DEAD])
def test_a_missing_queue_is_declared_at_once_and_then_counts(queue: str) -> None:
    depth = TopicDepth(TOPOLOGY)
    asks = {ask.queue: ask for ask in depth.due(0.0)}
    instead = depth.refused(asks[queue], 404, "no queue", 0.0)
    assert instead == Ask("t", queue, None, queue_arguments("quorum"))
    (other,) = (ask for name, ask in asks.items() if name != queue)
    depth.answered(other, 4, 0.0, 0.0)
    assert depth.probe is None
    depth.answered(instead, 0, 0.0, 0.0)
    assert (depth.probe is not None, depth.failure, depth.failure_count) == (True, None, 0)


def test_what_is_not_ours_to_declare_is_not_declared_anew() -> None:
    existing, passive = TopicDepth(replace(TOPOLOGY, is_existing=True)), TopicDepth(replace(TOPOLOGY, declare=False))
    assert refuse(existing, "q", 0.0) is None
    assert refuse(TopicDepth(existing.topology), DEAD, 0.0) == Ask("t", DEAD, None, queue_arguments("quorum"))
    assert refuse(passive, "q", 0.0) is None
    assert refuse(TopicDepth(passive.topology), DEAD, 0.0) is None


def test_a_main_queue_comes_back_with_its_own_arguments_and_bindings() -> None:
    bindings = (Binding(key="topics.t.bindings[0]", exchange="games"),)
    depth = TopicDepth(replace(TOPOLOGY, arguments={"x-max-length": 5}, bindings=bindings))
    wanted = queue_arguments("quorum") | {"x-max-length": 5}
    assert refuse(depth, "q", 0.0) == Ask("t", "q", None, wanted, bindings)


def test_a_main_queue_that_is_missing_is_looked_for_after_growing_pauses_of_up_to_half_a_minute() -> None:
    depth = TopicDepth(replace(TOPOLOGY, declare=False, rungs_ms=()))
    missed = [second for second in range(120) if "q" in [ask.queue for ask in _refused_at(depth, float(second))]]
    assert missed == [0, 1, 3, 7, 15, 31, 61, 91]
    assert depth.failure is not None
    assert (depth.failure.count, depth.failure_count, depth.failure.text) == (8, 8, "404 no queue")
    assert depth.is_doubtful


def test_a_look_that_succeeds_ends_the_pauses_and_the_failure() -> None:
    depth = TopicDepth(replace(TOPOLOGY, declare=False, rungs_ms=()))
    for second in (0.0, 1.0, 3.0):
        refuse(depth, "q", second)
    look(depth, 7.0)
    assert (depth.is_doubtful, depth.failure_count) == (False, 3)
    assert depth.failure is None
    refuse(depth, "q", 8.0)
    assert [queues[:1] for queues in looks(depth, 9, 10)] == [["q"]]


def _refused_at(depth: TopicDepth, now_s: float) -> list[Ask]:
    asks = depth.due(now_s)
    for ask in asks:
        depth.refused(ask, 404, "no queue", now_s)
    return asks


def test_a_look_that_failed_leaves_the_last_probe_as_it_was() -> None:
    depth = TopicDepth(TOPOLOGY)
    depth.waits_exist([1000])
    look(depth, 0.0, {"q": 3})
    before = depth.probe
    assert refuse(depth, W1, 9.0, code=None) is None
    assert depth.probe is before
    assert depth.failure is not None
    assert depth.failure.text == "no queue"


def test_dead_letters_that_nobody_tells_of_are_unknown_and_no_failure() -> None:
    depth = TopicDepth(TOPOLOGY)
    look(depth, 0.0, {DEAD: 2})
    refuse(depth, DEAD, 9.0, code=405)
    assert (counted(depth), depth.failure) == ((0, 0, None), None)
    assert sum(DEAD in queues for queues in looks(depth, 10, 39)) == 0
    assert sum(DEAD in queues for queues in looks(depth, 39, 60)) > 0


def test_nothing_is_due_while_a_look_is_under_way_and_all_is_after_it_was_lost() -> None:
    depth = TopicDepth(TOPOLOGY)
    depth.waits_exist([1000])
    look(depth, 0.0)
    asks = depth.due(1.0)
    assert depth.due(2.0) == []
    depth.answered(asks[0], 0, 0.0, 2.0)
    depth.drop()
    depth.due(3.0)
    depth.drop()
    assert look(depth, 4.0) == ["q", W1, DEAD]


def test_pauses_double_up_to_their_longest() -> None:
    assert [pause_s(count) for count in (1, 2, 3, 4, 5, 6, 1000)] == [1, 2, 4, 8, 16, 30, 30]
