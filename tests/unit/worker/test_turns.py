"""Whose turn it is in the event loop: that of those who take messages, then that of those who were put off."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hermes_ray.worker.turns import TURN_S, Turns


class Loop:
    """Rounds, and a clock, as a test says."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._calls: list[Callable[[], None]] = []
        self.turns = Turns(self._calls.append, lambda: self.now_s)

    def begin_round(self, now_s: float) -> None:
        self.now_s = now_s
        calls = self._calls.copy()
        self._calls.clear()
        for call in calls:
            call()


def goes_on(waiter: Iterator[None]) -> bool:
    return next(waiter, "goes on") is not None


def test_handlers_have_one_turn_in_a_round() -> None:
    loop = Loop()
    for began_s in (0.0, 1.0):
        loop.begin_round(began_s)
        assert not loop.turns.is_over()
        loop.now_s = began_s + 0.9 * TURN_S
        assert not loop.turns.is_over()
        loop.now_s = began_s + 1.1 * TURN_S
        assert loop.turns.is_over()


def test_those_who_were_put_off_go_on_in_order_for_a_turn_of_their_own_in_each_round() -> None:
    loop = Loop()
    assert not loop.turns.is_over()
    first, second, third = waiters = [loop.turns.wait() for _ in range(3)]
    assert not any(map(goes_on, waiters)), "not in this round"

    loop.begin_round(0.0)
    assert not goes_on(second), "it is the first one's turn"
    assert goes_on(first)
    loop.now_s = TURN_S
    assert goes_on(second)
    loop.now_s = 1.1 * TURN_S
    assert not goes_on(third), "that turn is over"
    assert loop.turns.is_over(), "and that of those who take messages"

    loop.begin_round(2.0)
    assert goes_on(third)


def test_who_waits_no_more_keeps_nobody() -> None:
    loop = Loop()
    first, second = loop.turns.wait(), loop.turns.wait()
    assert not goes_on(first)
    assert not goes_on(second)
    first.close()
    loop.begin_round(1.0)
    assert goes_on(second)
