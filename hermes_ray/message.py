"""What a handler receives, and what became of it."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hermes_ray.errors import PermanentError

__all__ = ["BROKER_HEADERS", "DeadLetter", "Done", "Message", "Outcome", "Publish", "Retry"]

# RabbitMQ before 4.0.1 drops a dead-lettered message silently when its own x-death history shows a cycle, and
# a delivery count of before would be read as the new message's.
BROKER_HEADERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
_OUR_HEADERS = "x-hermes-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """One message a handler asked for; sent when the handler has returned."""

    topic: str
    body: bytes
    headers: Mapping[str, Any]
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The handler returned and published: ack once every publish is confirmed."""

    publishes: tuple[Publish, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The handler raised: try again later, or dead-letter when the attempts are used up."""

    error: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """No retry can help: move to the dead-letter queue. ``reason`` is a short word, e.g. ``permanent``."""

    reason: str
    error: str
    traceback: str


Outcome = Done | Retry | DeadLetter | None
"""What became of one delivery; ``None`` is the common case: handled, nothing published."""


class Message:
    """One delivery, as a handler sees it.

    ``id`` is the AMQP message id (``None`` for a foreign message on its first attempt), ``attempt`` counts from 1,
    ``published_at_s`` is Unix seconds or ``None`` when the publisher stamped no time. Build one yourself to test a
    handler without a broker: ``Message(b'{"id": 7}')``.
    """

    __slots__ = ("_attempt", "_check", "_headers", "_id", "_published_at_s", "_publishes", "body", "topic")

    def __init__(
        self,
        body: bytes,
        *,
        topic: str = "",
        id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        attempt: int = 1,
        published_at_s: float | None = None,
        check: Callable[[str, Mapping[str, Any]], object] | None = None,
    ) -> None:
        self.body = body
        self.topic = topic
        self._id = id
        self._headers: Mapping[str, Any] = {} if headers is None else headers
        self._attempt = attempt
        self._published_at_s = published_at_s
        self._check = check
        self._publishes: dict[str, Publish] | None = None

    @property
    def id(self) -> str | None:
        """The AMQP message id; the same at every attempt and redelivery once there is one."""
        return self._id

    @property
    def headers(self) -> Mapping[str, Any]:
        """The AMQP headers, those of ours (``x-hermes-...``) included."""
        return self._headers

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1; an interruption uses none up."""
        return self._attempt

    @property
    def published_at_s(self) -> float | None:
        """When the message was first published, Unix seconds."""
        return self._published_at_s

    def json(self) -> Any:
        """The body parsed as JSON; a body that does not parse raises ``PermanentError``."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
            raise PermanentError(f"the body is not JSON: {error}") from error

    def publish(self, topic: str, body: bytes | str | Any, headers: Mapping[str, Any] | None = None) -> None:
        """Send ``body`` (bytes; text as UTF-8; else as JSON) to ``topic`` when this handler returns; never blocks.

        This delivery is acked only after the broker confirmed every message so published; a handler that raises
        publishes nothing. The id is derived from this message's id and the content, so that a redelivery publishes
        the same ids again, unless this message has no id. Of ``headers`` passed on from this message, those that count
        its attempts are left out.
        Raises ``ValueError`` for a topic the deployment does not have or headers AMQP cannot carry.
        """
        kept = {k: v for k, v in (headers or {}).items() if not str(k).startswith((_OUR_HEADERS, *BROKER_HEADERS))}
        if self._check is not None:
            self._check(topic, kept)
        raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        if self._publishes is None:
            self._publishes = {}
        child = self._child_id(topic, raw, kept)
        self._publishes[child] = Publish(topic=topic, body=raw, headers=kept, id=child)

    @property
    def has_published(self) -> bool:
        """Whether the handler published anything so far."""
        return self._publishes is not None

    @property
    def publishes(self) -> tuple[Publish, ...]:
        """What the handler published so far, in order."""
        return tuple(self._publishes.values()) if self._publishes else ()

    def _child_id(self, topic: str, body: bytes, headers: Mapping[str, Any]) -> str:
        if self.id is None:
            return str(uuid.uuid4())
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.id.encode(), topic.encode(), body, repr(sorted(headers.items())).encode()):
            digest.update(b"%d:" % len(part))
            digest.update(part)
        # The n-th publish of the same content is a message of its own.
        child = str(uuid.UUID(bytes=digest.digest()))
        while child in (self._publishes or ()):
            child = str(uuid.uuid5(uuid.UUID(child), "again"))
        return child

    def __repr__(self) -> str:
        return f"Message(topic={self.topic!r}, id={self.id!r}, attempt={self.attempt}, {len(self.body)} bytes)"
