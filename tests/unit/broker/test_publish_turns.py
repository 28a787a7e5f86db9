"""In which order publishes go on their way, and how long each turn may take."""

from __future__ import annotations

import pytest

from hermes_ray.broker.publish_turns import PublishTurns


def turns_of(names: str) -> PublishTurns[str]:
    """Capitals go alone."""
    turns = PublishTurns[str](str.isupper)
    turns.add(*names)
    return turns


def test_what_goes_alone_takes_turns_with_all_others_together() -> None:
    turns = turns_of("aABbC")
    assert turns.take() == ["A"]
    assert turns.take() == ["a", "b"]
    turns.add("c")
    assert [turns.take() for _ in range(4)] == [["B"], ["c"], ["C"], []]
    assert not turns.is_ordered


def test_what_need_not_go_alone_any_more_goes_with_the_others() -> None:
    alone = {"a", "b"}
    turns = PublishTurns[str](alone.__contains__)
    turns.add(*"abc")
    assert turns.take() == ["a"]
    alone.clear()
    assert turns.take() == ["c", "b"]


def test_what_has_to_go_alone_on_another_channel_does() -> None:
    alone = set[str]()
    turns = PublishTurns[str](alone.__contains__)
    turns.add(*"abc")
    alone.add("b")
    turns.sort()
    assert [turns.take(), turns.take()] == [["b"], ["a", "c"]]


def test_what_could_not_be_sent_is_next_in_the_turns_it_was_of() -> None:
    turns = turns_of("abA")
    assert turns.take() == ["A"]
    turns.put_back(["A"])
    assert turns.take() == ["a", "b"]
    turns.put_back(["b"])
    turns.add("c")
    assert [turns.take(), turns.take()] == [["A"], ["b", "c"]]


def test_refused_ones_come_first_alone_or_together() -> None:
    turns = turns_of("cC")
    turns.put_first(["A", "B"], is_alone=True)
    turns.put_first(["a", "b"], is_alone=False)
    assert [turns.take() for _ in range(4)] == [["A"], ["a", "b", "c"], ["B"], ["C"]]


def test_what_is_not_wanted_any_more_waits_no_more() -> None:
    turns = turns_of("abAB")
    turns.keep({"a", "A"}.__contains__)
    assert [turns.take() for _ in range(3)] == [["A"], ["a"], []]
    turns.add("x")
    turns.clear()
    assert not turns.is_waiting


def test_answers_are_waited_for_only_where_something_goes_alone_and_not_for_ever() -> None:
    turns = turns_of("ab")
    turns.take()
    turns.sent(10.0)
    assert turns.left_s(10.0) == 0.0, "more of these may go at once"
    turns.add("A")
    assert turns.left_s(10.1) == pytest.approx(0.4)
    turns.take()
    turns.sent(10.6)
    assert turns.left_s(11.0) == pytest.approx(0.1)
    assert turns.left_s(11.2) < 0


def test_turns_are_as_long_as_refusals_take_and_shorter_again_with_answers() -> None:
    turns = turns_of("AB")
    turns.take()
    turns.sent(0.0)
    turns.refused([0.0, 1.0], 3.0)
    assert turns.left_s(0.0) == 12.0, "four times the three seconds"
    turns.refused([0.0, 1.0], 100.0)
    assert turns.left_s(0.0) == 30.0
    turns.answered(2.0)
    assert turns.left_s(0.0) == 8.0
    turns.answered(0.001)
    assert (turns.left_s(0.0), turns.is_long) == (0.5, False)


def test_a_refusal_of_one_or_of_a_turn_of_others_says_nothing_of_how_long_turns_are_to_be() -> None:
    turns = turns_of("aA")
    turns.take()
    turns.refused([0.0], 100.0)
    turns.take()
    turns.refused([0.0, 0.0], 100.0)
    assert not turns.is_long
