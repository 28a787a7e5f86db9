"""Deliveries whose retry or dead letter finds no place: they stay open, and are to be in nobody's way."""

from __future__ import annotations

from itertools import islice

from hermes_ray.broker.settlement_counts import Kind

__all__ = ["Stuck"]

_LOOKED_AT = 100


class Stuck:
    """By delivery tag why each is ``held``, as the broker takes it in no form, or waits for room in a queue.

    ``dead``: what is to become of those held whose dead letter was refused. ``in_all``: how many there have been.
    ``said``: how many there are, and why the first is, for any thread.
    """

    def __init__(self) -> None:
        self.held: dict[int, str] = {}
        self.dead: dict[int, Kind] = {}
        self.waiting: dict[int, tuple[str, str]] = {}  # for room where, and why there is none
        self.in_all = 0
        self.said: tuple[int, str | None] = 0, None

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.held) + len(self.waiting)

    def hold(self, tag: int, kind: Kind, why: str) -> None:
        """It can be moved nowhere."""
        self.held[tag] = why
        if kind != "retried":
            self.dead[tag] = kind
        self.in_all += 1
        self._say()

    def let_go(self, tag: int) -> None:
        """It is not held any more."""
        del self.held[tag]
        self.dead.pop(tag, None)
        self._say()

    def wait(self, tag: int, queue: str, why: str) -> None:
        """It waits for room in ``queue``."""
        self.in_all += tag not in self.waiting
        self.waiting[tag] = queue, why
        self._say()

    def wait_no_more(self, tag: int) -> None:
        """It does not wait for room, or not any more."""
        if self.waiting.pop(tag, None) is not None:
            self._say()

    def is_without_room(self, queue: str) -> bool:
        """Whether others wait for room in ``queue``."""
        return any(queue == full for full, _ in islice(self.waiting.values(), _LOOKED_AT))

    def clear(self) -> None:
        """The channel is gone, and the broker has all of them back."""
        self.held.clear()
        self.dead.clear()
        self.waiting.clear()
        self._say()

    def _say(self) -> None:
        why = next(iter(self.held.values()), None)
        if why is None and self.waiting:
            why = next(iter(self.waiting.values()))[1]
        self.said = self.count, why
