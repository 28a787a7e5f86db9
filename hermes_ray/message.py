"""What a handler receives."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from hermes_ray.body import text_of
from hermes_ray.errors import PermanentError
from hermes_ray.outcome import Publish, is_for_broker

__all__ = ["Check", "Message", "legible"]

PROPERTIES = (
    "content_type", "content_encoding", "type", "correlation_id", "reply_to", "priority", "app_id", "timestamp",
    "exchange", "routing_key", "redelivered",
)  # fmt: skip

Check = Callable[[str | None, Mapping[str, Any]], bytes]
"""Topic (None: a reply) and headers of a publish -> the headers as bytes; raises ``ValueError`` for what is wrong."""

_OUR_HEADERS = "x-hermes-"
_SEALING = threading.Lock()  # held for an instant: what is published is sent, or refused


class Message:
    """One delivery, as a handler sees it; nothing of it can be written to.

    ``id`` is the AMQP message id (``None`` for a foreign message on its first attempt), ``attempt`` counts from 1,
    ``published_at_s`` is Unix seconds or ``None`` when the publisher stamped no time. The other properties are None
    where they are not set. Build one yourself to test a handler without a broker: ``Message(b'{"id": 7}')``.
    """

    __slots__ = (
        "_attempt",
        "_check",
        "_headers",
        "_properties",
        "_published_at_s",
        "_publishes",
        "_twins",
        "body",
        "topic",
    )

    def __init__(
        self,
        body: bytes,
        *,
        topic: str = "",
        id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        attempt: int = 1,
        published_at_s: float | None = None,
        check: Check | None = None,
        **properties: Any,
    ) -> None:
        if unknown := properties.keys() - PROPERTIES:
            raise TypeError(f"a message has no {', '.join(sorted(unknown))}, only {', '.join(PROPERTIES)}")
        self.body = body
        self.topic = topic
        self._headers: Mapping[str, Any] | None = MappingProxyType(dict(headers or {}))
        self._attempt = attempt
        self._published_at_s = published_at_s
        self._properties: Any = {"message_id": id, **properties}
        self._check = check
        self._publishes: dict[str, Publish] | None = None
        self._twins: Counter[uuid.UUID] | None = None

    def _get(self, name: str) -> Any:
        """A property by its name in AMQP."""
        return self._properties.get(name)

    @property
    def id(self) -> str | None:
        """The AMQP message id; the same at every attempt and redelivery once there is one."""
        return legible(self._get("message_id"))

    @property
    def headers(self) -> Mapping[str, Any]:
        """The AMQP headers, those of ours (``x-hermes-...``) included."""
        assert self._headers is not None
        return self._headers

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1; an interruption uses none up."""
        return self._attempt

    @property
    def published_at_s(self) -> float | None:
        """When the message was first published, Unix seconds."""
        return self._published_at_s

    @property
    def exchange(self) -> str:
        """The exchange that the message was first published to; empty for the default one."""
        return self._text("exchange")

    @property
    def routing_key(self) -> str:
        """The routing key that the message was first published with."""
        return self._text("routing_key")

    @property
    def redelivered(self) -> bool:
        """Whether this very delivery may have been handled before, its ack having been lost."""
        return bool(self._get("redelivered"))

    @property
    def content_type(self) -> str | None:
        """What ``body`` is, such as ``application/json; charset=utf-8``."""
        return self._word("content_type")

    @property
    def content_encoding(self) -> str | None:
        """How ``body`` is packed, such as ``gzip``."""
        return self._word("content_encoding")

    @property
    def type(self) -> str | None:
        """What the message is, in the publisher's own words."""
        return self._word("type")

    @property
    def correlation_id(self) -> str | None:
        """What the one who waits for a reply knows it by."""
        return self._word("correlation_id")

    @property
    def reply_to(self) -> str | None:
        """The queue that a reply goes to."""
        return self._word("reply_to")

    @property
    def app_id(self) -> str | None:
        """Who has published the message."""
        return self._word("app_id")

    @property
    def priority(self) -> int | None:
        """0 to 255."""
        priority: int | None = self._get("priority")
        return priority

    @property
    def timestamp(self) -> int | None:
        """The AMQP timestamp as it is sent: Unix seconds, by convention."""
        timestamp: int | None = self._get("timestamp")
        return timestamp

    def json(self) -> Any:
        """The body parsed as JSON, unpacked (gzip, deflate) and decoded as ``content_encoding``, ``content_type`` say.

        A body that cannot be read so raises ``PermanentError``.
        """
        try:
            return json.loads(text_of(self.body, self.content_encoding, self.content_type))
        except (ValueError, RecursionError, EOFError, LookupError, zlib.error) as error:
            raise PermanentError(f"the body is not JSON: {error}") from error

    def publish(
        self,
        topic: str,
        body: bytes | str | Any,
        headers: Mapping[str, Any] | None = None,
        *,
        priority: int | None = None,
        type: str | None = None,
        correlation_id: str | None = None,
        content_type: str | None = None,
    ) -> None:
        """Send ``body`` (bytes; text as UTF-8; else as JSON) to ``topic`` when this handler returns; never blocks.

        This delivery is acked only after the broker confirmed every message so published; a handler that raises
        publishes nothing. The id is derived from this message's id and the content, so that a redelivery publishes
        the same ids again, unless this message has no id. Of ``headers`` passed on from this message, those that count
        its attempts, or that a broker would act on (``CC``, ``x-death``, ...), are left out.
        Raises ``ValueError`` for a topic the deployment does not have, headers or properties AMQP cannot carry, and
        once the handler has returned.
        """
        if not isinstance(topic, str):  # None is a reply's from here on: this would be acked, and go to nobody
            raise ValueError(f"the topic to publish to is {topic!r:.60}: it must be text")
        fields = {"priority": priority, "type": type, "correlation_id": correlation_id, "content_type": content_type}
        self._take_down(topic, body, headers, fields)

    def reply(
        self,
        body: bytes | str | Any,
        headers: Mapping[str, Any] | None = None,
        *,
        priority: int | None = None,
        type: str | None = None,
        content_type: str | None = None,
    ) -> None:
        """Send ``body`` to whoever waits at ``reply_to``, with the correlation id of this message, as ``publish`` does.

        A queue that is gone is no failure: whoever waited there does no more. Raises ``ValueError`` as ``publish``
        does, and where nobody waits for a reply.
        """
        if not self.reply_to:
            raise ValueError("this message has no reply_to: nobody waits for a reply")
        correlation_id = self._get("correlation_id")
        fields = {"priority": priority, "type": type, "correlation_id": correlation_id, "content_type": content_type}
        self._take_down(None, body, headers, fields)

    @property
    def has_published(self) -> bool:
        """Whether the handler published anything so far."""
        return bool(self._publishes)

    @property
    def publishes(self) -> tuple[Publish, ...]:
        """What the handler published so far, in order."""
        return tuple(self._publishes.values()) if self._publishes else ()

    def seal(self) -> None:
        """The handler has returned: nothing that is published from now on would be sent."""
        self._check = _too_late
        if self._publishes is not None:  # a thread may be about to add one more
            with _SEALING:
                pass

    def _word(self, name: str) -> str | None:
        return legible(self._get(name))

    def _text(self, name: str) -> str:
        return self._word(name) or ""

    def _take_down(
        self, topic: str | None, body: Any, headers: Mapping[str, Any] | None, fields: Mapping[str, Any]
    ) -> None:
        if self._publishes is None:
            self._publishes = {}
        try:
            passed_on = {k: v for k, v in dict(headers or {}).items() if not _is_left_out(k)}
        except (TypeError, ValueError):
            raise ValueError(f"the headers are {headers!r:.60}: they must be a mapping") from None
        said = {name: _checked(name, value) for name, value in fields.items() if value is not None}
        table = b"" if self._check is None else self._check(topic, passed_on)
        if isinstance(body, bytearray | memoryview):
            body = bytes(body)
        raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        reply_to = "" if topic is not None else self._text("reply_to")
        told = table or repr(sorted(passed_on.items(), key=repr)).encode("utf-8", "backslashreplace")
        first = self._first_child(topic or reply_to, raw, told + repr(sorted(said.items())).encode())
        with _SEALING:
            if self._check is _too_late:
                _too_late(topic, passed_on)
            child = self._next_twin(first)
            self._publishes[child] = Publish(
                topic=topic, body=raw, headers=passed_on, id=child, table=table, fields=said, reply_to=reply_to
            )

    def _first_child(self, place: str, body: bytes, told: bytes) -> uuid.UUID:
        if self.id is None:
            return uuid.uuid4()
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.id.encode(), place.encode(), body, told):
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return uuid.UUID(bytes=digest.digest())

    def _next_twin(self, first: uuid.UUID) -> str:
        """The n-th publish of the same content is a message of its own."""
        self._twins = self._twins or Counter()
        self._twins[first] += 1
        return str(first if self._twins[first] == 1 else uuid.uuid5(first, f"twin {self._twins[first]}"))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Message stays in its process, where it is settled: pass on message.body, .headers and .id")

    def __repr__(self) -> str:
        return f"Message(topic={self.topic!r}, id={self.id!r}, attempt={self.attempt}, {len(self.body)} bytes)"


def legible(value: str | bytes | None) -> str | None:
    """``value``, of a property that should be text, as text where it is bytes: it is no UTF-8 then."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _too_late(_topic: str | None, _headers: Mapping[str, Any]) -> bytes:
    raise ValueError("the handler has returned: what it publishes now would never be sent")


def _is_left_out(header: Any) -> bool:
    return isinstance(header, str) and (header.startswith(_OUR_HEADERS) or is_for_broker(header))


def _checked(name: str, value: Any) -> Any:
    """``value`` if AMQP can carry it as the property ``name``."""
    if name == "priority":
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
            raise ValueError(f"priority is {value!r}: it must be a whole number from 0 to 255")
        return value
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if not isinstance(raw, bytes) or len(raw) > 255:  # bytes: a correlation id that is no UTF-8 goes back as it came
        raise ValueError(f"{name} is {str(value)[:60]!r}: it must be text of at most 255 bytes")
    if isinstance(value, str):
        value.encode()
    return value
