"""Queues that do not answer: what was sent there, and given up on, may still arrive, and is not to become more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

__all__ = ["SilentQueues"]

T = TypeVar("T")


class SilentQueues(Generic[T]):
    """What is kept back for each queue, until it has answered something. One goes there in each round, to try.

    A queue at which a channel stood, so that nothing else was answered either, is left alone on the next channels until
    ``try_again``.

    ``reason`` says so in words, None where no queue is silent; for any thread.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        self._tried: set[str] = set()
        self._stood: set[str] = set()
        self.reason: str | None = None

    @property
    def names(self) -> Collection[str]:
        """The queues that are silent."""
        return self._waiting.keys()

    def mark(self, queue: str) -> None:
        """What was sent to ``queue`` has been given up on."""
        self._waiting.setdefault(queue, deque())
        self._say()

    def next_round(self, is_wanted: Callable[[T], bool]) -> None:
        """Something was given up on again: keep what is wanted; where no channel stood there is one more try each."""
        self._tried &= self._stood
        for queue, waiting in self._waiting.items():
            self._waiting[queue] = deque(filter(is_wanted, waiting))

    def keep_back(self, queue: str, one: T) -> bool:
        """Whether ``one`` is kept here for now."""
        if queue not in self._waiting:
            return False
        if queue not in self._tried:
            return False
        self._waiting[queue].append(one)
        return True

    def sent(self, queue: str) -> None:
        """One is on its way to ``queue``."""
        self._tried.add(queue)

    def heard(self, queue: str) -> deque[T]:
        """``queue`` has answered; returns what can go there now."""
        released = self._waiting.pop(queue, None)
        self._stood.discard(queue)
        if released is None:
            return deque()
        self._say()
        return released

    def clear(self) -> list[T]:
        """Nobody waits for answers any more, as on a new channel; returns all that was kept back."""
        released = [one for waiting in self._waiting.values() for one in waiting]
        self._waiting.clear()
        self._tried.clear()
        self._stood.clear()
        self.reason = None
        return released

    def stands_at(self, queue: str) -> None:
        """Nothing at all is answered since something was sent to ``queue``."""
        self.mark(queue)
        self._tried.add(queue)
        self._stood.add(queue)

    def has_stood(self, queue: str) -> bool:
        """Whether a channel stood at ``queue``, which has answered nothing since."""
        return queue in self._stood

    def begin(self) -> list[T]:
        """Another channel, where all have one more try but those at which a channel stood; returns the tries."""
        self._tried = set(self._stood)
        return [waiting.popleft() for queue, waiting in self._waiting.items() if waiting and queue not in self._tried]

    def try_again(self, unanswered: set[str], is_wanted: Callable[[T], bool]) -> list[T]:
        """A try each for those at which a channel stood, where none is ``unanswered``; returns the tries."""
        tries = []
        for queue in [queue for queue in self._stood if queue not in unanswered]:
            waiting = self._waiting[queue] = deque(filter(is_wanted, self._waiting[queue]))
            if waiting:
                self._tried.discard(queue)
                tries.append(waiting.popleft())
            else:
                self.heard(queue)  # nobody asks any more
        return tries

    def _say(self) -> None:
        first = next(iter(self._waiting), None)
        self.reason = None if first is None else f"no answer to what was published to {first}"
