"""The messages we send: fresh ones, retries on their way to a wait queue, dead letters.

Header names are an interface: they stay as they are for ever. What is sent on keeps every property and header of the
original byte for byte, but for those that the broker would act on: they are kept under names that it does not know.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.fields import encode, encode_entry
from hermes_ray.broker.properties import Properties, number_at, number_of, persistent, properties
from hermes_ray.outcome import DeadLetter, is_for_broker

__all__ = ["ATTEMPT", "DUE_MS", "ORIGINAL", "PUBLISHED_MS", "Outgoing"]
__all__ += ["attempt_of", "dead_letter", "eligible_ms_of", "encode_headers", "fresh", "reduced", "retry"]

PUBLISHED_MS = "x-hermes-published-ms"  # Unix ms of the first publish; the AMQP timestamp has seconds only
ATTEMPT = "x-hermes-attempt"  # the attempt the next delivery is, from 1
DUE_MS = "x-hermes-due-ms"  # Unix ms at which a retry becomes eligible
ORIGINAL = "x-hermes-original-"  # before what the broker would act on, and where a message was published to at first
REASON = "x-hermes-reason"
_ERROR, _TRACEBACK, _TOPIC, _CUT = (f"x-hermes-{word}" for word in ("error", "traceback", "topic", "cut"))

_REASON_KEY = b"%c%b" % (len(REASON), REASON.encode())
_STAMP = encode_entry(PUBLISHED_MS, b"l")
_STAMP_ALONE = (len(_STAMP) + 8).to_bytes(4, "big") + _STAMP  # headers, from their size on, that are nothing else
_ELIGIBLE_KEYS = tuple(b"%c%bl" % (len(key), key.encode()) for key in (DUE_MS, PUBLISHED_MS))

_ERROR_MAX_BYTES = 500
_TRACEBACK_MAX_BYTES = 4_000  # all headers travel in one frame, and a broker may limit frames to 8192 bytes
_HEADERS_MAX_BYTES = 65_536  # half a frame of RabbitMQ's default: a dead letter adds to them
_PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message for ``queue``, or for an ``exchange`` with that routing key.

    ``declare`` holds the arguments of a queue to declare on first use.

    ``delay_ms``: how long a retry waits in ``queue``; None for everything else. ``may_be_lost``: nobody waits for it
    where it does not arrive, as for a reply.
    """

    queue: str
    body: bytes
    properties: Properties
    declare: Mapping[str, Any] | None = None
    delay_ms: int | None = None
    may_be_lost: bool = False
    exchange: str = ""


def fresh(queue: str, body: bytes, *, table: bytes = b"", id: str | None = None, **fields: Any) -> Outgoing:
    """A new persistent message, stamped with an id (a random one unless given) and the publish time in ms.

    ``table``: what ``encode_headers`` made of its headers; ``fields``: further properties by their names in AMQP.
    """
    headers, id = _STAMP + (time.time_ns() // 1_000_000).to_bytes(8, "big") + table, id or str(uuid.uuid4())
    made = (
        properties(headers, message_id=id, delivery_mode=_PERSISTENT, **fields) if fields else persistent(headers, id)
    )
    return Outgoing(queue, body, made)


def retry(delivery: Delivery, *, queue: str, delay_ms: int, declare: Mapping[str, Any] | None) -> Outgoing:
    """The same message for a wait queue: one attempt further, due in ``delay_ms``, with an id from now on."""
    past = Properties(delivery.raw)
    due_ms = time.time_ns() // 1_000_000 + delay_ms
    ours = {DUE_MS: _number(due_ms), ATTEMPT: _number(attempt_of(past) + 1), **_first_place(past, delivery)}
    return Outgoing(queue, delivery.body, _sent_on(past, ours), declare, delay_ms)


def dead_letter(
    delivery: Delivery, *, queue: str, topic: str, letter: DeadLetter, declare: Mapping[str, Any] | None
) -> Outgoing:
    """The original message with why it is here: the reason, the error, the end of the traceback, the topic."""
    past = Properties(delivery.raw)
    ours = {
        REASON: encode(letter.reason),
        _TOPIC: encode(topic),
        ATTEMPT: _number(attempt_of(past)),
        _ERROR: encode(_whole(_encoded(letter.error)[:_ERROR_MAX_BYTES])),
        _TRACEBACK: encode(_whole(_encoded(letter.traceback)[-_TRACEBACK_MAX_BYTES:])),
        **_first_place(past, delivery),
    }
    return Outgoing(queue, delivery.body, _sent_on(past, ours), declare)


def reduced(message: Outgoing, room_bytes: int) -> Outgoing:
    """``message``, a dead letter, with headers left out until its properties fit into ``room_bytes``; itself if so.

    The traceback goes first, then the largest of the others; the names of what was cut are in ``x-hermes-cut``. What
    says why it is a dead letter stays.
    """
    kept, cut = {REASON, _TOPIC, ATTEMPT, _ERROR, _CUT}, list[str]()
    left = len(message.properties.raw) + _ERROR_MAX_BYTES + 20  # with the names of what is cut
    for name, size in sorted(message.properties.sizes().items(), key=lambda item: (item[0] != _TRACEBACK, -item[1])):
        if left <= room_bytes:
            break
        if name not in kept:
            cut.append(name)
            left -= size
    if not cut:
        return message
    said, gone = encode(_whole(", ".join(cut).encode()[:_ERROR_MAX_BYTES])), frozenset(cut)
    made = message.properties.spliced({_CUT: said}, rename=lambda key: None if key in gone else key)
    return replace(message, properties=made)


def attempt_of(properties: Properties) -> int:
    """The attempt this delivery is, from 1; a foreign or broken header counts as 1.

    So does that of a dead letter which somebody has moved back: it starts anew.
    """
    value = properties.header(ATTEMPT)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if is_count and properties.header(REASON) is None else 1


def eligible_ms_of(raw: bytes) -> int | None:
    """Unix ms from which on a message with these properties could have been handled, None where nobody said.

    Nobody does of a dead letter that was moved back: what it waited before that is no wait for a worker.
    """
    if raw.startswith(_STAMP_ALONE, 2) and raw[0] & 0xE0 == 0x20:  # most of ours: 0.3 µs instead of 1
        return number_at(raw, 2 + len(_STAMP_ALONE))
    return None if _REASON_KEY in raw else number_of(raw, _ELIGIBLE_KEYS)


def encode_headers(headers: Mapping[str, Any]) -> bytes:
    """``headers`` as the entries of an AMQP table.

    Raises ``ValueError`` for headers AMQP cannot carry, here rather than in the I/O thread.
    """
    try:
        table = b"".join(encode_entry(key, encode(value)) for key, value in headers.items())
    except Exception as error:  # whatever a mapping of the user's own raises
        raise ValueError(f"these headers cannot be sent: {error}") from error
    if len(table) > _HEADERS_MAX_BYTES:
        raise ValueError(f"these headers are {len(table)} bytes: at most {_HEADERS_MAX_BYTES} can be sent")
    return table


def _number(value: int) -> bytes:
    """Always of 64 bits, so that a look for it knows its size."""
    return b"l" + value.to_bytes(8, "big")


def _encoded(text: str) -> bytes:
    """``text`` in UTF-8 with a mark for each lone surrogate, which an error about parsed JSON may quote."""
    return text.encode("utf-8", "replace")


def _whole(cut: bytes) -> str:
    """The characters that a cut through UTF-8 left whole."""
    return cut.decode("utf-8", "ignore")


def _first_place(past: Properties, delivery: Delivery) -> dict[str, bytes]:
    """Where a message was published to at first: our own queues would be all that is left of it."""
    names = ("exchange", "routing-key")
    if past.header(f"{ORIGINAL}{names[1]}") is not None:
        return {}
    places = (delivery.exchange, delivery.routing_key)
    return {
        f"{ORIGINAL}{name}": b"S" + len(place).to_bytes(4, "big") + place
        for name, place in zip(names, places, strict=True)
    }


def _sent_on(past: Properties, ours: Mapping[str, bytes]) -> Properties:
    is_ours = past.header(ATTEMPT) is not None
    kept = dict(ours)
    for name in ("expiration", "user_id"):
        value = past.get(name)
        if value is not None:
            kept[f"{ORIGINAL}{name.replace('_', '-')}"] = encode(value)

    def renamed(key: str) -> str | None:
        if key in _WHY:
            return None
        if not is_for_broker(key):
            return key
        # A message that we have sent before has only what the broker has added since, on its way through our queues.
        moved = f"{ORIGINAL}{key}"
        return None if is_ours or past.header(moved) is not None else moved

    id = past.get("message_id")
    return past.spliced(
        kept,
        rename=renamed,
        expiration=None,
        user_id=None,
        delivery_mode=_PERSISTENT,
        **({} if id else {"message_id": str(uuid.uuid4())}),
    )


_WHY = frozenset((REASON, _ERROR, _TRACEBACK, _TOPIC, _CUT, DUE_MS, ATTEMPT))
