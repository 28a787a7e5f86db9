"""Values of AMQP tables: cut without decoding, decoded tolerantly, encoded where they are ours.

RabbitMQ's types and pika's names for them: https://www.rabbitmq.com/amqp-0-9-1-errata (section 3). Where the two specs
differ, what brokers and clients really send counts: ``s`` is a signed 16-bit number, ``L`` a signed 64-bit one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from struct import Struct
from typing import Any

__all__ = ["DEEPEST", "decode", "encode", "encode_entry", "encode_table", "entries", "key_of", "text_of", "value_end"]

DEEPEST = 32  # tables in tables that are decoded; what lies deeper is shown as its bytes

_NUMBERS = {ord(letter): Struct(f">{layout}") for letter, layout in zip("bBsuIilLfd", "bBhHiIqqfd", strict=True)}
_FIXED = {letter: number.size for letter, number in _NUMBERS.items()}
_FIXED |= {ord("t"): 1, ord("D"): 5, ord("T"): 8, ord("V"): 0}
_COUNTED = frozenset(b"SxFA")
_SIZE = Struct(">I")
_INT32, _INT64, _DOUBLE = Struct(">i"), Struct(">q"), Struct(">d")
_UINT64 = Struct(">Q")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def value_end(raw: bytes, at: int, end: int) -> int:
    """Where the value at ``at`` (its type's letter first) ends; ``end``, where all ends, if nobody can know."""
    if at >= end:
        return end
    kind = raw[at]
    if (size := _FIXED.get(kind)) is not None:
        return min(at + 1 + size, end)
    if kind in _COUNTED and at + 5 <= end:
        size = _SIZE.unpack_from(raw, at + 1)[0]
        return min(at + 5 + int(size), end)
    return end


def entries(raw: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Each key of the table between ``at`` and ``end`` (without its length), with where its value begins and ends.

    What follows a value of unknown type belongs to that value, since nobody knows its length.
    """
    while at < end:
        start = at + 1 + raw[at]
        stop = value_end(raw, start, end)
        yield raw[at + 1 : min(start, end)], min(start, end), stop
        at = stop


def decode(raw: bytes, at: int, end: int, depth: int = 0) -> Any:
    """The value between ``at`` and ``end``; never raises.

    Strings are text where they are UTF-8, else bytes; a time is a datetime (UTC) where one holds it, else the number of
    seconds. Of an unknown type, cut short or nested deeper than ``DEEPEST``, the bytes after the type are the value.
    """
    if at >= end:
        return b""
    kind, start = raw[at], at + 1
    if (size := _FIXED.get(kind)) is not None:
        return _fixed(kind, raw, start) if start + size == end else raw[start:end]
    is_whole = kind in _COUNTED and start + 4 <= end and start + 4 + _SIZE.unpack_from(raw, start)[0] == end
    return _counted_value(kind, raw, start + 4, end, depth) if is_whole else raw[start:end]


def _counted_value(kind: int, raw: bytes, start: int, end: int, depth: int) -> Any:
    if kind == ord("S"):
        return text_of(raw[start:end])
    if kind == ord("x") or depth >= DEEPEST:
        return raw[start:end]
    if kind == ord("F"):
        return {key_of(key): decode(raw, first, last, depth + 1) for key, first, last in entries(raw, start, end)}
    values = []
    while start < end:
        stop = value_end(raw, start, end)
        values.append(decode(raw, start, stop, depth + 1))
        start = stop
    return values


def _fixed(kind: int, raw: bytes, at: int) -> Any:
    if (number := _NUMBERS.get(kind)) is not None:
        return number.unpack_from(raw, at)[0]
    if kind == ord("t"):
        return raw[at] != 0
    if kind == ord("T"):
        seconds = _UINT64.unpack_from(raw, at)[0]
        try:
            return _EPOCH + timedelta(seconds=seconds)
        except OverflowError:
            return seconds
    if kind == ord("D"):
        return Decimal(int.from_bytes(raw[at + 1 : at + 5], "big", signed=True)).scaleb(-raw[at])
    return None


def text_of(raw: bytes) -> str | bytes:
    """Text where ``raw`` is UTF-8, else ``raw``."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def key_of(raw: bytes) -> str:
    """The name of an entry as text that can be sent again."""
    return raw.decode("utf-8", "backslashreplace")


def encode(value: Any) -> bytes:
    """``value`` with its type's letter first, as pika writes it, and doubles besides.

    Raises ``ValueError`` for what AMQP cannot carry.
    """
    for kinds, encoder in _ENCODERS:
        if isinstance(value, kinds):
            return encoder(value)
    raise ValueError(f"AMQP has no type for {type(value).__name__} {value!r:.40}")


def encode_table(table: Mapping[str, Any]) -> bytes:
    """``table`` with its size first. Raises ``ValueError`` for what AMQP cannot carry."""
    return _counted(b"", b"".join(encode_entry(key, encode(value)) for key, value in table.items()))


def encode_entry(key: str | bytes, value: bytes) -> bytes:
    """One entry of a table: ``value`` is encoded. Raises ``ValueError`` for a key that is no text or too long."""
    if not isinstance(key, str | bytes):
        raise ValueError(f"the name of a header is text, not {key!r}")
    name = key.encode() if isinstance(key, str) else key
    if len(name) > 255:
        raise ValueError(f"the header {key[:40]!r}... has a name of {len(name)} bytes: at most 255 can be sent")
    return b"%c%b%b" % (len(name), name, value)


def _counted(kind: bytes, data: bytes) -> bytes:
    return kind + _SIZE.pack(len(data)) + data


def _whole_number(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"I" + _INT32.pack(value)
    if -(2**63) <= value < 2**63:
        return b"l" + _INT64.pack(value)
    raise ValueError(f"AMQP's whole numbers have 64 bits: {value:.3g}")


def _double(value: float) -> bytes:
    if not math.isfinite(value):
        raise ValueError(f"RabbitMQ ends the connection over a header that is {value}")
    return b"d" + _DOUBLE.pack(value)


def _timestamp(value: datetime) -> bytes:
    seconds = ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // timedelta(seconds=1)
    if seconds < 0:
        raise ValueError(f"AMQP has no time before 1970: {value}")
    return b"T" + _UINT64.pack(seconds)


def _decimal(value: Decimal) -> bytes:
    _sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"AMQP has no decimal {value}")
    places = max(0, -exponent)
    number = int(value.scaleb(places)) if len(digits) + max(0, exponent) <= 10 else 2**31
    if places > 255 or not -(2**31) <= number < 2**31:
        raise ValueError(f"AMQP's decimals have 31 bits and at most 255 places: {value}")
    return b"D" + bytes([places]) + _INT32.pack(number)


_ENCODERS: tuple[tuple[Any, Callable[[Any], bytes]], ...] = (
    (str, lambda value: _counted(b"S", value.encode())),
    ((bytes, bytearray, memoryview), lambda value: _counted(b"x", bytes(value))),
    (bool, lambda value: b"t\1" if value else b"t\0"),
    (int, _whole_number),
    (float, _double),
    (datetime, _timestamp),
    (Decimal, _decimal),
    (type(None), lambda _value: b"V"),
    (Mapping, lambda value: b"F" + encode_table(value)),
    ((list, tuple), lambda value: _counted(b"A", b"".join(map(encode, value)))),
)
