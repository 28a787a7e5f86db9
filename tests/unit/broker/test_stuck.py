"""Deliveries whose retry or dead letter finds no place."""

from __future__ import annotations

import pytest

from hermes_ray.broker import stuck as module
from hermes_ray.broker.stuck import Stuck


class Waiter:
    """One that waits, and says so when it gives up."""

    def __init__(self, stuck: Stuck, tag: int) -> None:
        self._stuck = stuck
        self._tag = tag
        self.has_given_up = False

    def give_up(self) -> None:
        self.has_given_up = True
        self._stuck.wait_no_more(self._tag)


@pytest.fixture
def requeued() -> list[int]:
    return []


@pytest.fixture
def stuck(requeued: list[int]) -> Stuck:
    return Stuck("q", requeued.append)


def test_each_has_a_reason_and_counts_once(stuck: Stuck, requeued: list[int]) -> None:
    waiter = Waiter(stuck, 1)
    stuck.wait(1, "q.dead", "full", waiter.give_up)
    stuck.wait(1, "q.dead", "still full", waiter.give_up)
    stuck.park(2, "dead_lettered_attempts", "too large")
    stuck.park(3, "retried", "too much")
    assert stuck.said == (3, "too large")
    assert stuck.in_all == 3
    assert (stuck.parked_count, stuck.waiting_count) == (2, 1)
    assert stuck.is_without_room("q.dead")
    assert not stuck.is_without_room("q.wait.100")
    stuck.give_back_up_to(2)
    assert (stuck.said, stuck.has_dead, requeued) == ((2, "too much"), False, [2])
    stuck.give_back_up_to(3)
    assert stuck.said == (1, "still full")
    stuck.wait_no_more(1)
    assert stuck.count == 0
    stuck.clear()
    assert stuck.count == 0
    assert stuck.in_all == 3, "cumulative"


def test_one_that_waited_and_is_parked_then_counts_once(stuck: Stuck) -> None:
    stuck.wait(1, "q.dead", "full", lambda: None)
    assert stuck.is_alone(1, "q.dead")
    assert not stuck.is_alone(2, "q.dead")
    stuck.park(1, "dead_lettered_attempts", "full", "q.dead")
    assert (stuck.in_all, stuck.count, stuck.said) == (1, 1, (1, "full"))
    assert stuck.is_alone(2, "q.dead"), "who is parked asks nobody"


def test_what_the_broker_moves_itself_is_dead_letters_alone(stuck: Stuck, requeued: list[int]) -> None:
    stuck.park(1, "dead_lettered_permanent", "too large")
    stuck.park(2, "retried", "too much")
    stuck.park(3, "dead_lettered_attempts", "too large")
    assert stuck.take_dead() == {1: "dead_lettered_permanent", 3: "dead_lettered_attempts"}, "a retry is not dead"
    assert (stuck.said, stuck.has_dead, requeued) == ((1, "too much"), False, [])


def test_what_is_parked_since_too_many_wait_is_not_dead_and_comes_again_once_there_is_room(
    stuck: Stuck, requeued: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GO_ON_COUNT", 2)
    for tag in range(200):
        stuck.park(tag, "dead_lettered_attempts", "full", "q.dead")
    for tag in range(200, 210):
        stuck.park(tag, "retried", "full", "q.wait.100")
    assert not stuck.has_dead, "the broker would drop them: the queue is full for it too"
    stuck.go_on()
    stuck.has_found_room("other")
    stuck.go_on()
    assert requeued == []
    stuck.has_found_room("q.wait.100")
    for _ in range(4):
        stuck.go_on()
    assert requeued == list(range(200, 208)), "they go on, whether or not these lead to another publish"
    stuck.has_no_room("q.wait.100")
    stuck.go_on()
    assert len(requeued) == 8, "until it is full again"
    stuck.has_found_room("q.wait.100")
    stuck.has_found_room("q.dead")
    stuck.go_on()
    assert sorted(requeued) == [0, 1, *range(200, 210)]
    stuck.give_back_up_to(199)
    stuck.go_on()
    assert (stuck.count, len(requeued)) == (0, 210)


def test_one_full_queue_says_nothing_of_another(stuck: Stuck) -> None:
    for tag in range(200):
        stuck.wait(tag, "q.dead", "full", lambda: None)
    assert not stuck.is_without_room("q.wait.100")
    stuck.wait(200, "q.wait.100", "full", lambda: None)
    assert stuck.is_without_room("q.wait.100")
    stuck.wait(200, "theirs", "full", lambda: None)
    assert not stuck.is_without_room("q.wait.100"), "it waits for another by now"
    stuck.wait_no_more(200)
    assert not stuck.is_without_room("theirs")


def test_at_the_end_of_a_worker_nothing_is_kept_and_nothing_begins_to_be(stuck: Stuck, requeued: list[int]) -> None:
    before, after = Waiter(stuck, 1), Waiter(stuck, 3)
    stuck.wait(1, "q.dead", "full", before.give_up)
    stuck.park(2, "retried", "too much")
    stuck.end()
    assert (stuck.count, before.has_given_up, requeued) == (0, True, [2])
    stuck.wait(3, "q.dead", "full", after.give_up)
    stuck.park(4, "retried", "too much")
    assert (stuck.count, after.has_given_up, requeued) == (0, True, [2, 4])


def test_a_bounded_number_waits_for_room(stuck: Stuck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    for tag in (1, 2):
        assert stuck.may_wait
        stuck.wait(tag, "q.dead", "full", lambda: None)
    assert not stuck.may_wait
    stuck.wait_no_more(1)
    assert stuck.may_wait
