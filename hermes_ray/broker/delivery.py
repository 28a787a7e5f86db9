"""One delivery, from the socket to its settlement."""

from __future__ import annotations

from pika.spec import BasicProperties

__all__ = ["Delivery"]


class Delivery:
    """One delivery on its way through a slot. ``epoch`` numbers the channel that ``tag`` belongs to."""

    __slots__ = ("body", "epoch", "properties", "tag")

    def __init__(self, epoch: int, tag: int, properties: BasicProperties, body: bytes) -> None:
        self.epoch = epoch
        self.tag = tag
        self.properties = properties
        self.body = body
