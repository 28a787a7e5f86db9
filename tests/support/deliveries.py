"""Deliveries as the broker would send them, made of what a test says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.fields import encode, encode_entry
from hermes_ray.broker.properties import properties

__all__ = ["delivery", "raw_of"]


def raw_of(headers: Mapping[str, Any] | None = None, **fields: Any) -> bytes:
    """The bytes of these properties."""
    table = b"".join(encode_entry(key, encode(value)) for key, value in (headers or {}).items())
    return properties(table, **fields).raw


def delivery(
    body: bytes = b"",
    *,
    tag: int = 1,
    epoch: int = 1,
    headers: Mapping[str, Any] | None = None,
    exchange: bytes = b"",
    routing_key: bytes = b"q",
    redelivered: bool = False,
    **fields: Any,
) -> Delivery:
    """``fields``: properties by their names in AMQP."""
    route = b"%c%c%b%c%b" % (redelivered, len(exchange), exchange, len(routing_key), routing_key)
    return Delivery(epoch, tag, route, raw_of(headers, **fields), body)
