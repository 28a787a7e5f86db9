"""How many bytes of messages a worker holds, and how many it may."""

from __future__ import annotations

from collections.abc import Sequence

from hermes_ray.broker.delivery import Delivery

__all__ = ["HeldBytes"]


class HeldBytes:
    """``now``: of the bodies and properties of the deliveries that are held, about ``most`` of them at a time.

    For any thread to read; written by the I/O thread alone.
    """

    __slots__ = ("_mean", "most", "now")

    def __init__(self, most: int) -> None:
        self.most = most
        self.now = 0
        self._mean = 0.0

    def add(self, batch: Sequence[Delivery]) -> int:
        """These are held from now on; returns their bytes."""
        size = sum([len(delivery.body) + len(delivery.raw) for delivery in batch])
        self.now += size
        return size

    def drop(self, delivery: Delivery) -> None:
        """It is not held any more, or without its body."""
        self.now -= len(delivery.body) + len(delivery.raw)

    @property
    def is_too_much(self) -> bool:
        """Whether there are more than there may be."""
        return self.now > self.most

    def note_mean(self, body_count: int) -> None:
        """Of so many deliveries the bodies are held."""
        self._mean = self.now / max(1, body_count)

    @property
    def most_count(self) -> int:
        """How many deliveries as large as those held, or as the last ones, may be held together; one at least."""
        return max(1, int(self.most / max(1.0, self._mean)))
