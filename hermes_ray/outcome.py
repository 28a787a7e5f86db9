"""What became of a message, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DeadLetter", "Done", "Outcome", "Publish", "Retry", "is_for_broker"]

# RabbitMQ before 4.0.1 drops a dead-lettered message silently when its own x-death history shows a cycle, and
# a delivery count of before would be read as the new message's.
_OF_BROKER = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
_ALSO_TO = frozenset(("CC", "BCC"))  # further queues: with its own queue in it each retry would make two of a message


def is_for_broker(header: str) -> bool:
    """Whether a broker acts on a header of this name where a message is published."""
    return header in _ALSO_TO or header.startswith(_OF_BROKER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """One message a handler asked for; sent when the handler has returned.

    ``topic`` is None for a reply, which goes to ``reply_to``. ``table``: its headers as bytes, where a broker is to get
    them; ``fields``: properties by their names in AMQP.
    """

    topic: str | None
    body: bytes
    headers: Mapping[str, Any]
    id: str
    table: bytes = b""
    fields: Mapping[str, Any] = field(default_factory=dict)
    reply_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The handler returned and published: ack once every publish is confirmed."""

    publishes: tuple[Publish, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The handler raised: try again later, or dead-letter when the attempts are used up, for ``reason`` then."""

    error: str
    traceback: str
    reason: str = "attempts"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """No retry can help: move to the dead-letter queue. ``reason`` is a short word, e.g. ``permanent``."""

    reason: str
    error: str
    traceback: str


Outcome = Done | Retry | DeadLetter | None
"""What became of one delivery; ``None`` is the common case: handled, nothing published."""
