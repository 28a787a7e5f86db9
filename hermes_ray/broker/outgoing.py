"""The messages we send: fresh ones, retries on their way to a wait queue, dead letters.

Header names are an interface: they stay as they are for ever.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pika.data import encode_table
from pika.spec import BasicProperties

from hermes_ray.message import BROKER_HEADERS, DeadLetter

__all__ = ["ATTEMPT", "DUE_MS", "PUBLISHED_MS", "Outgoing"]
__all__ += ["attempt_of", "check_headers", "dead_letter", "fresh", "retry"]

PUBLISHED_MS = "x-hermes-published-ms"  # Unix ms of the first publish; the AMQP timestamp has seconds only
ATTEMPT = "x-hermes-attempt"  # the attempt the next delivery is, from 1
DUE_MS = "x-hermes-due-ms"  # Unix ms at which a retry becomes eligible
_REASON, _ERROR, _TRACEBACK, _TOPIC = (f"x-hermes-{word}" for word in ("reason", "error", "traceback", "topic"))

_ERROR_MAX_BYTES = 500
_TRACEBACK_MAX_BYTES = 4_000  # all headers travel in one frame, and a broker may limit frames to 8192 bytes
_FRAME_ROOM_BYTES = 126_000  # of a frame of 131,072: more would end the connection, and again at each new try
_HEADERS_MAX_BYTES = 65_536  # half a frame of RabbitMQ's default: a dead letter adds to them
_PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message for the default exchange. ``declare`` holds the arguments of a queue to declare on first use.

    ``delay_ms``: how long a retry waits in ``queue``; None for everything else.
    """

    queue: str
    body: bytes
    properties: BasicProperties
    declare: Mapping[str, Any] | None = None
    delay_ms: int | None = None


def fresh(queue: str, body: bytes, *, headers: Mapping[str, Any] | None = None, id: str | None = None) -> Outgoing:
    """A new persistent message, stamped with an id (a random one unless given) and the publish time in ms."""
    stamped = {**(headers or {}), PUBLISHED_MS: time.time_ns() // 1_000_000}
    return Outgoing(
        queue, body, BasicProperties(message_id=id or str(uuid.uuid4()), headers=stamped, delivery_mode=_PERSISTENT)
    )


def retry(
    properties: BasicProperties, body: bytes, *, queue: str, delay_ms: int, declare: Mapping[str, Any] | None
) -> Outgoing:
    """The same message for a wait queue: one attempt further, due in ``delay_ms``, with an id from now on."""
    due_ms = time.time_ns() // 1_000_000 + delay_ms
    kept = _copy(properties, {ATTEMPT: attempt_of(properties) + 1, DUE_MS: due_ms})
    return Outgoing(queue, body, kept, declare, delay_ms)


def dead_letter(
    properties: BasicProperties,
    body: bytes,
    *,
    queue: str,
    topic: str,
    letter: DeadLetter,
    declare: Mapping[str, Any] | None,
) -> Outgoing:
    """The original message with why it is here: the reason, the error, the end of the traceback, the topic."""
    why = {
        _REASON: letter.reason,
        _ERROR: _whole(_encoded(letter.error)[:_ERROR_MAX_BYTES]),
        _TRACEBACK: _whole(_encoded(letter.traceback)[-_TRACEBACK_MAX_BYTES:]),
        _TOPIC: topic,
        ATTEMPT: attempt_of(properties),
    }
    kept = _copy(properties, why)
    if sum(map(len, kept.encode())) > _FRAME_ROOM_BYTES:
        del kept.headers[_TRACEBACK]
    return Outgoing(queue, body, kept, declare)


def attempt_of(properties: BasicProperties) -> int:
    """The attempt this delivery is, from 1; a foreign or broken header counts as 1."""
    value = (properties.headers or {}).get(ATTEMPT, 1)
    return value if isinstance(value, int) and value > 0 else 1


def check_headers(headers: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for headers AMQP cannot carry, here rather than in the I/O thread."""
    try:
        size_bytes = encode_table([], dict(headers))
    except Exception as error:
        raise ValueError(f"these headers cannot be sent: {error!r}") from error
    if size_bytes > _HEADERS_MAX_BYTES:
        raise ValueError(f"these headers are {size_bytes} bytes: at most {_HEADERS_MAX_BYTES} can be sent")


def _encoded(text: str) -> bytes:
    """``text`` in UTF-8 with a mark for each lone surrogate, which an error about parsed JSON may quote."""
    return text.encode("utf-8", "replace")


def _whole(cut: bytes) -> str:
    """The characters that a cut through UTF-8 left whole."""
    return cut.decode("utf-8", "ignore")


def _copy(properties: BasicProperties, added: Mapping[str, Any]) -> BasicProperties:
    kept = {k: v for k, v in (properties.headers or {}).items() if not str(k).startswith(BROKER_HEADERS)}
    return BasicProperties(
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        headers={**kept, **added},
        delivery_mode=_PERSISTENT,
        priority=properties.priority,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        message_id=properties.message_id or str(uuid.uuid4()),
        timestamp=properties.timestamp,
        type=properties.type,
        app_id=properties.app_id,
    )
