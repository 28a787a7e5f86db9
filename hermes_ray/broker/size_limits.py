"""What is too large to be published: by the frames that were agreed on, and by the broker's limit, once it told it."""

from __future__ import annotations

import re

from pika.channel import Channel

from hermes_ray.broker.outgoing import Outgoing
from hermes_ray.broker.wire import room_bytes

__all__ = ["SizeLimits"]

_TOO_LARGE = re.compile(r"message size \d+ (?:bytes )?is larger than (?:the )?configured max(?:imum)? size (\d+)")
_DEATHS_BYTES = 1_000  # of x-death and its like, which the broker adds where a message waits: the frame is to hold both


class SizeLimits:
    """Those of one broker; ``most_body_bytes`` is None while it has not told it."""

    def __init__(self) -> None:
        self.most_body_bytes: int | None = None

    def learn(self, reason: str) -> bool:
        """The broker has closed a channel for ``reason``; whether that is the size of a body."""
        found = _TOO_LARGE.search(reason)
        if found:
            self.most_body_bytes = int(found[1])
        return found is not None

    def is_body_too_large(self, message: Outgoing) -> bool:
        """Whether the broker takes no body of this size."""
        return self.most_body_bytes is not None and len(message.body) > self.most_body_bytes

    def why_too_large(self, channel: Channel, message: Outgoing) -> str:
        """Why ``message`` cannot be sent on ``channel``; "" if it can."""
        if self.is_body_too_large(message):
            return (
                f"its body of {len(message.body)} bytes is larger than the broker's max_message_size of "
                f"{self.most_body_bytes}"
            )
        size, room = len(message.properties.raw), room_bytes(channel)
        if message.delay_ms is not None:
            room -= _DEATHS_BYTES
        return f"its headers of {size} bytes are more than the {room} of a frame" if size > room else ""
