"""The properties of one message as the bytes they travel in: read key by key, changed by splicing.

Nothing here decodes what it is not asked for, so that a header of another client that nobody knows to decode neither
hurts its message nor is lost on its way through us.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from struct import Struct
from typing import Any

from hermes_ray.broker.fields import decode, encode_entry, entries, key_of, text_of

__all__ = ["FIELDS", "NO_PROPERTIES", "Properties", "number_at", "number_of", "persistent", "properties"]

NO_PROPERTIES = b"\0\0"

# In the order of their bits, from the highest: what is set follows the flags in this order.
FIELDS = (
    "content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to",
    "expiration", "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id",
)  # fmt: skip
_SIZES = {"delivery_mode": 1, "priority": 1, "timestamp": 8}
_FLAGS, _SIZE, _INT64 = Struct(">H"), Struct(">I"), Struct(">q")
_FIRST_HEADER = 6  # where the first one begins in properties that have no content type and encoding


@cache
def _names(flags: int) -> tuple[str, ...]:
    return tuple(name for n, name in enumerate(FIELDS) if flags & 1 << 15 - n)


def _spans(raw: bytes) -> dict[str, tuple[int, int]]:
    """Where the value of each property begins and ends, without a string's length; cut at the end of ``raw``."""
    spans, at, end = {}, 2, len(raw)
    if end < 2:
        return {}
    for name in _names(_FLAGS.unpack_from(raw)[0]):
        if at >= end:
            break
        if name == "headers":
            start = at + 4
            stop = start + _SIZE.unpack_from(raw, at)[0] if start <= end else end
        elif (size := _SIZES.get(name)) is not None:
            start, stop = at, at + size
        else:
            start = at + 1
            stop = start + raw[at]
        at = min(stop, end)
        spans[name] = (min(start, end), at)
    return spans


def _table_span(raw: bytes) -> tuple[int, int]:
    """Where the entries of the headers begin and end."""
    if len(raw) < 2 or not raw[0] & 0x20:
        return 0, 0
    if raw[0] & 0xC0 == 0 and len(raw) >= 6:
        return 6, min(6 + _SIZE.unpack_from(raw, 2)[0], len(raw))
    return _spans(raw).get("headers", (0, 0))


def number_of(raw: bytes, keys: Iterable[bytes]) -> int | None:
    """The first of the headers ``keys`` that is there as a 64-bit number, as ours are; None without one.

    ``keys``: each with its length before it and the type's letter behind. Where one is the first header, as in messages
    of ours, nothing is walked: 0.3 µs instead of 2.
    """
    for key in keys:
        if raw.startswith(key, _FIRST_HEADER):
            if not raw[0] & 0xC0:
                return number_at(raw, _FIRST_HEADER + len(key))
        elif key not in raw:
            continue
        start, end = _table_span(raw)
        for _name, first, last in entries(raw, start, end):
            if last - first == 9 and raw.startswith(key, first + 1 - len(key)):
                return number_at(raw, first + 1)
    return None


def number_at(raw: bytes, at: int) -> int | None:
    """The 64-bit number at ``at``; None where ``raw`` ends before it does."""
    value: int | None = _INT64.unpack_from(raw, at)[0] if at + 8 <= len(raw) else None
    return value


class Properties:
    """What AMQP calls basic properties, decoded when asked for; never raises, whatever the bytes are.

    A property that is not set is None. ``timestamp``: Unix seconds; ``priority``, ``delivery_mode``: numbers; the
    others: text, or bytes where they are not UTF-8.
    """

    __slots__ = ("_spans", "raw")

    def __init__(self, raw: bytes = NO_PROPERTIES) -> None:
        self.raw = raw
        self._spans: dict[str, tuple[int, int]] | None = None

    def get(self, name: str) -> Any:
        """The property ``name``, one of ``FIELDS`` but ``headers``."""
        if self._spans is None:
            self._spans = _spans(self.raw)
        if (span := self._spans.get(name)) is None:
            return None
        value = self.raw[span[0] : span[1]]
        return int.from_bytes(value, "big") if name in _SIZES else text_of(value)

    def headers(self) -> dict[str, Any]:
        """All headers, decoded now."""
        start, end = _table_span(self.raw)
        return {key_of(key): decode(self.raw, first, last) for key, first, last in entries(self.raw, start, end)}

    def header(self, key: str) -> Any:
        """One header; None where it is not set."""
        name = key.encode()
        if name in self.raw:
            start, end = _table_span(self.raw)
            for found, first, last in entries(self.raw, start, end):
                if found == name:
                    return decode(self.raw, first, last)
        return None

    def sizes(self) -> dict[str, int]:
        """The bytes that each header takes."""
        start, end = _table_span(self.raw)
        return {key_of(key): len(key) + 1 + last - first for key, first, last in entries(self.raw, start, end)}

    def spliced(
        self,
        ours: Mapping[str, bytes],
        *,
        rename: Callable[[str], str | None] = lambda key: key,
        **fields: int | str | bytes | None,
    ) -> Properties:
        """A copy whose bytes are these but for the headers ``ours`` (encoded) and the properties ``fields``.

        ``rename``: another name for a header, or None to leave it out. Ours come first: a value of unknown type has to
        stay last, and they are found at once.
        """
        start, end = _table_span(self.raw)
        table = [encode_entry(key, value) for key, value in ours.items()]
        for key, first, last in entries(self.raw, start, end):
            text = key_of(key)
            name = rename(text)
            if name is None or name in ours:
                continue
            raw_name = key if name == text else name.encode()[:255]
            table.append(b"%c%b%b" % (len(raw_name), raw_name, self.raw[first:last]))
        return Properties(_joined(self.raw, b"".join(table), fields))


def properties(headers: bytes = b"", **fields: int | str | bytes | None) -> Properties:
    """Properties of a new message: ``headers`` are encoded entries, ``fields`` as in ``FIELDS``."""
    return Properties(_joined(NO_PROPERTIES, headers, fields))


def persistent(headers: bytes, message_id: str) -> Properties:
    """The same of a persistent message that has an id and nothing else, in a third of the time.

    ``message_id``: ASCII, at most 255 characters.
    """
    id = message_id.encode()
    return Properties(b"\x30\x80%b%b\2%c%b" % (_SIZE.pack(len(headers)), headers, len(id), id))


def _joined(raw: bytes, table: bytes, fields: Mapping[str, int | str | bytes | None]) -> bytes:
    spans = _spans(raw)
    flags, pieces = 0, []
    for n, name in enumerate(FIELDS):
        if name == "headers":
            if not table:
                continue
            piece = _SIZE.pack(len(table)) + table
        elif name in fields:
            if (value := fields[name]) is None:
                continue
            piece = _encoded(name, value)
        elif name in spans:
            value_bytes = raw[slice(*spans[name])]
            piece = value_bytes if name in _SIZES else b"%c%b" % (len(value_bytes), value_bytes)
        else:
            continue
        flags |= 1 << 15 - n
        pieces.append(piece)
    return _FLAGS.pack(flags) + b"".join(pieces)


def _encoded(name: str, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(_SIZES[name], "big")
    text = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
    return b"%c%b" % (len(text), text)
