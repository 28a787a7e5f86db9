"""A delivery as a handler sees it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.fields import text_of
from hermes_ray.broker.outgoing import ORIGINAL, PUBLISHED_MS, attempt_of
from hermes_ray.broker.properties import Properties
from hermes_ray.message import Check, Message

__all__ = ["IncomingMessage"]


class IncomingMessage(Message):
    """A message read off its delivery only as far as the handler asks."""

    __slots__ = ("_delivery",)

    def __init__(self, delivery: Delivery, topic: str, check: Check) -> None:
        self.body = delivery.body
        self.topic = topic
        self._delivery = delivery
        self._properties: Properties | None = None
        self._headers = None
        self._check = check
        self._publishes = None
        self._twins = None

    @property
    def _read(self) -> Properties:
        if self._properties is None:
            self._properties = Properties(self._delivery.raw)
        return self._properties

    def _get(self, name: str) -> Any:
        if name == "redelivered":
            return self._delivery.is_redelivered
        if name in ("exchange", "routing_key"):
            first = self._read.header(f"{ORIGINAL}{name.replace('_', '-')}")
            return text_of(getattr(self._delivery, name)) if first is None else first
        return self._read.get(name)

    @property
    def headers(self) -> Mapping[str, Any]:
        if self._headers is None:
            self._headers = MappingProxyType(self._read.headers())
        return self._headers

    @property
    def attempt(self) -> int:
        return attempt_of(self._read)

    @property
    def published_at_s(self) -> float | None:
        published_ms = self._read.header(PUBLISHED_MS)
        if isinstance(published_ms, int):
            return published_ms / 1000
        timestamp = self._read.get("timestamp")
        return None if timestamp is None else float(timestamp)
