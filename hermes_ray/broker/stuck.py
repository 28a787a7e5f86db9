"""Deliveries whose retry or dead letter finds no place: they stay open, and are to be in nobody's way."""

from __future__ import annotations

from itertools import islice

from hermes_ray.broker.settlement_counts import Kind

__all__ = ["Stuck"]

_LOOKED_AT = 100


class Stuck:
    """By delivery tag why each is ``held``, as the broker takes it in no form, or waits for room in a queue.

    ``dead``: what is to become of those held whose dead letter was refused. ``in_all``: how many there have been.
    """

    def __init__(self) -> None:
        self.held: dict[int, str] = {}
        self.dead: dict[int, Kind] = {}
        self.waiting: dict[int, tuple[str, str]] = {}  # for room where, and why there is none
        self.in_all = 0

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, one for each; those first that are held."""
        return (*self.held.values(), *(why for _, why in self.waiting.values()))

    def hold(self, tag: int, kind: Kind, why: str) -> None:
        """It can be moved nowhere."""
        self.held[tag] = why
        if kind != "retried":
            self.dead[tag] = kind
        self.in_all += 1

    def let_go(self, tag: int) -> None:
        """It is not held any more."""
        del self.held[tag]
        self.dead.pop(tag, None)

    def wait(self, tag: int, queue: str, why: str) -> None:
        """It waits for room in ``queue``."""
        self.in_all += tag not in self.waiting
        self.waiting[tag] = queue, why

    def is_without_room(self, queue: str) -> bool:
        """Whether others wait for room in ``queue``."""
        return any(queue == full for full, _ in islice(self.waiting.values(), _LOOKED_AT))

    def clear(self) -> None:
        """The channel is gone, and the broker has all of them back."""
        self.held.clear()
        self.dead.clear()
        self.waiting.clear()
