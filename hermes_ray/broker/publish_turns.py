"""Who is sent next: what may close the channel goes alone, in turns with all that waits meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["PublishTurns"]

T = TypeVar("T")

_LEAST_TURN_S, _MOST_TURN_S = 0.5, 30.0  # for the answers of one turn, before the next begins all the same
_ROUND_TRIPS = 4  # that a turn is at least


class PublishTurns(Generic[T]):
    """What waits to be sent, in turns: one that ``goes_alone``, all others together, the next one alone.

    A turn is over when all of it is answered, or after a while all the same, since an answer may never come; where
    refusals take longer than that, turns get longer. Which one is to go alone may change while it waits.
    """

    def __init__(self, goes_alone: Callable[[T], bool]) -> None:
        self._goes_alone = goes_alone
        self._together: deque[T] = deque()
        self._alone: deque[T] = deque()
        self._is_of_one = False
        self._sent_s = 0.0
        self._turn_s = _LEAST_TURN_S

    @property
    def is_waiting(self) -> bool:
        """Whether anything waits; for any thread."""
        return bool(self._together or self._alone)

    @property
    def is_ordered(self) -> bool:
        """Whether there is a turn to end: something waits, or what was sent last went alone."""
        return self._is_of_one or self.is_waiting

    @property
    def is_long(self) -> bool:
        """Whether refusals have made turns longer."""
        return self._turn_s > _LEAST_TURN_S

    def add(self, *ones: T) -> None:
        """They wait, each behind the others of its kind."""
        for one in ones:
            (self._alone if self._goes_alone(one) else self._together).append(one)

    def sort(self) -> None:
        """More may have to go alone than before, as on a new channel."""
        together, self._together = self._together, deque()
        self.add(*together)

    def put_back(self, ones: Sequence[T]) -> None:
        """They are the next ones of the kind whose turn it was."""
        self.put_first(ones, is_alone=self._is_of_one)

    def put_first(self, ones: Sequence[T], *, is_alone: bool) -> None:
        """They are the next ones of those that go alone, or together."""
        (self._alone if is_alone else self._together).extendleft(reversed(ones))

    def keep(self, is_wanted: Callable[[T], bool]) -> None:
        """Of what waits only what ``is_wanted`` does from now on."""
        self._together = deque(filter(is_wanted, self._together))
        self._alone = deque(filter(is_wanted, self._alone))

    def clear(self) -> None:
        """Nothing waits any more."""
        self._together.clear()
        self._alone.clear()

    def left_s(self, now_s: float) -> float:
        """For how long the answers to what was sent are waited for before anything else is; 0 or less: no longer."""
        return self._sent_s + self._turn_s - now_s if self._is_of_one or self._alone else 0.0

    def take(self) -> list[T]:
        """What is to be sent now, the next turn; nothing when nothing waits."""
        while self._alone and not self._goes_alone(self._alone[0]):
            self._together.append(self._alone.popleft())
        self._is_of_one = bool(self._alone) and not (self._is_of_one and self._together)
        if self._is_of_one:
            return [self._alone.popleft()]
        taken = list(self._together)
        self._together.clear()
        return taken

    def sent(self, now_s: float) -> None:
        """One of the turn is on the wire."""
        self._sent_s = now_s

    def answered(self, took_s: float) -> None:
        """An answer came ``took_s`` after what it is to: turns need be no longer than a few of those."""
        self._turn_s = max(_LEAST_TURN_S, min(self._turn_s, _ROUND_TRIPS * took_s))

    def refused(self, sent_s: Sequence[float], now_s: float) -> None:
        """What was sent at these times was refused: if several were alone, a turn was over before that came."""
        if len(sent_s) > 1 and self._is_of_one:
            took_s = now_s - sorted(sent_s)[-2]
            self._turn_s = min(_MOST_TURN_S, max(self._turn_s, _ROUND_TRIPS * took_s))
