"""One delivery, from the socket to its settlement."""

from __future__ import annotations

__all__ = ["Delivery"]


class Delivery:
    """One delivery on its way through a slot. ``epoch`` numbers the channel that ``tag`` belongs to.

    ``raw``: its properties as they came, see ``properties``; ``route``: a byte that is 1 where it is redelivered, then
    exchange and routing key, each with its length before it.
    """

    __slots__ = ("body", "epoch", "raw", "route", "tag")

    def __init__(self, epoch: int, tag: int, route: bytes, raw: bytes, body: bytes) -> None:
        self.epoch = epoch
        self.tag = tag
        self.route = route
        self.raw = raw
        self.body = body

    @property
    def is_redelivered(self) -> bool:
        """Whether it may have been delivered before."""
        return self.route[:1] == b"\1"

    @property
    def exchange(self) -> bytes:
        """Where it was published to; empty for the default exchange."""
        return self.route[2 : 2 + self.route[1]]

    @property
    def routing_key(self) -> bytes:
        """The routing key it came with."""
        return self.route[3 + self.route[1] :]
