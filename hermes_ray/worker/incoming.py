"""A delivery as a handler sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.outgoing import PUBLISHED_MS, attempt_of
from hermes_ray.message import Message

__all__ = ["Check", "IncomingMessage"]

Check = Callable[[str, Any], object]


class IncomingMessage(Message):
    """A message read off its delivery only as far as the handler asks."""

    __slots__ = ("_properties",)

    def __init__(self, delivery: Delivery, topic: str, check: Check) -> None:
        self.body = delivery.body
        self.topic = topic
        self._properties = delivery.properties
        self._check = check
        self._publishes = None

    @property
    def id(self) -> str | None:
        message_id: str | bytes | None = self._properties.message_id  # bytes where it is no UTF-8
        return message_id.decode("utf-8", "backslashreplace") if isinstance(message_id, bytes) else message_id

    @property
    def headers(self) -> Mapping[str, Any]:
        headers: Mapping[str, Any] = self._properties.headers or {}
        return headers

    @property
    def attempt(self) -> int:
        return attempt_of(self._properties)

    @property
    def published_at_s(self) -> float | None:
        published_ms = self.headers.get(PUBLISHED_MS)
        if isinstance(published_ms, int):
            return published_ms / 1000
        timestamp = self._properties.timestamp
        return None if timestamp is None else float(timestamp)
