"""Queues that do not answer."""

from __future__ import annotations

from hermes_ray.broker.silent_queues import SilentQueues


def test_to_a_silent_queue_goes_one_a_round_until_it_is_heard_of() -> None:
    queues = SilentQueues[int]()
    assert not queues.keep_back("q", 0)
    assert queues.reason is None
    queues.mark("q")
    queues.mark("other")
    assert queues.reason == "no answer to what was published to q"
    assert not queues.keep_back("q", 1)
    queues.sent("q")
    assert [queues.keep_back("q", n) for n in (2, 3)] == [True, True]
    queues.next_round(lambda n: n != 2)
    assert not queues.keep_back("q", 4)
    queues.sent("q")
    assert queues.keep_back("q", 5)
    assert list(queues.heard("q")) == [3, 5]
    assert queues.reason is not None
    assert list(queues.heard("other")) == []
    assert queues.reason is None
    assert not queues.keep_back("q", 6)


def test_a_queue_at_which_a_channel_stood_has_no_more_tries_than_its_own() -> None:
    queues = SilentQueues[int]()
    queues.stands_at("q")
    queues.next_round(lambda _: True)
    assert queues.keep_back("q", 1)
    assert queues.try_again(set(), lambda _: True) == [1]


def test_on_a_new_channel_nobody_waits_for_answers() -> None:
    queues = SilentQueues[int]()
    queues.mark("q")
    queues.sent("q")
    assert [queues.keep_back("q", n) for n in (1, 2)] == [True, True]
    assert queues.clear() == [1, 2]
    assert queues.reason is None
    assert not queues.keep_back("q", 3)


def test_the_reason_names_no_queue_that_has_answered() -> None:
    queues = SilentQueues[int]()
    queues.mark("a")
    queues.mark("b")
    queues.heard("a")
    assert queues.reason == "no answer to what was published to b"
