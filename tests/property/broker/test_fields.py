"""Tables and properties: whatever is in them survives, and nothing of them raises."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from pika.data import decode_table
from pika.spec import BasicProperties

from hermes_ray.broker.fields import DEEPEST, decode, encode, encode_table, entries
from hermes_ray.broker.properties import FIELDS, Properties, properties
from tests.support.deliveries import raw_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.decimals(-1000, 1000, places=2)
    | st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=6)


def counted(kind: bytes, raw: bytes) -> bytes:
    return kind + struct.pack(">I", len(raw)) + raw


# Values as other clients write them, of every type there is and some that are none.
FOREIGN = st.one_of(
    *(
        st.builds(bytes.__add__, st.just(kind), st.binary(min_size=size, max_size=size))
        for kind, size in {
            b"t": 1, b"b": 1, b"B": 1, b"s": 2, b"u": 2, b"I": 4, b"i": 4, b"l": 8, b"L": 8, b"f": 4, b"d": 8, b"D": 5,
            b"T": 8, b"V": 0,
        }.items()
    ),
    *(
        st.builds(counted, st.just(kind), st.binary(max_size=30))
        for kind in (b"S", b"x", b"A", b"F")
    ),
)  # fmt: skip
UNKNOWN = st.tuples(st.sampled_from(b"!?zZqN\0\xff"), st.binary(max_size=20)).map(
    lambda pair: bytes([pair[0]]) + pair[1]
)


def entry(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + value


FOREIGN_TABLES = st.lists(st.tuples(st.binary(max_size=12), FOREIGN), max_size=8).flatmap(
    lambda pairs: st.just(pairs) | st.tuples(st.binary(max_size=12), UNKNOWN).map(lambda last: [*pairs, last])
)
STRINGS = (
    "content_type",
    "content_encoding",
    "correlation_id",
    "reply_to",
    "message_id",
    "type",
    "app_id",
    "cluster_id",
)
MORE = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(STRINGS, TEXT)
    | {"priority": st.integers(0, 255), "timestamp": st.integers(0, 2**64 - 1), "delivery_mode": st.integers(1, 2)},
)


@given(TABLES)
def test_what_is_encoded_comes_back_as_it_was(table: dict[str, Any]) -> None:
    raw = encode(table)
    assert decode(raw, 0, len(raw)) == table


@given(TABLES.filter(lambda table: not _has_float(table)))
def test_pika_reads_what_is_encoded(table: dict[str, Any]) -> None:
    read, end = decode_table(encode_table(table), 0)
    assert end == len(encode_table(table))
    assert read.keys() == table.keys()


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_float, value))
    return isinstance(value, float | Decimal)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_reading_them_raises_nothing_and_leaves_none_out(raw: bytes) -> None:
    decode(raw, 0, len(raw))
    found = Properties(raw)
    found.headers()
    found.header("x-hermes-attempt")
    assert all(found.get(name) is not NotImplemented for name in FIELDS if name != "headers")
    covered = 0
    for name, first, last in entries(raw, 0, len(raw)):
        assert covered <= first <= last
        assert covered + 1 + len(name) == first or first == len(raw)
        covered = last
    assert covered == len(raw)


@given(FOREIGN_TABLES, MORE, TABLES)
def test_a_message_of_anybody_survives_a_splice_byte_for_byte(
    theirs: list[tuple[bytes, bytes]], fields: dict[str, Any], ours: dict[str, Any]
) -> None:
    entries_of_theirs = b"".join(entry(*pair) for pair in theirs)
    raw = properties(entries_of_theirs, **fields).raw
    added = {f"x-hermes-{name}": encode(value) for name, value in ours.items()}
    made = Properties(raw).spliced(added)
    assert entries_of_theirs in made.raw, "all of them, in their order"
    assert {name: made.get(name) for name in fields} == fields
    assert made.headers().items() >= {f"x-hermes-{name}": value for name, value in ours.items()}.items()
    assert made.spliced({}, rename=lambda key: None if key in added else key).raw == raw


@given(FOREIGN_TABLES, MORE, MORE)
def test_properties_are_set_and_taken_away_beside_the_others(
    theirs: list[tuple[bytes, bytes]], fields: dict[str, Any], others: dict[str, Any]
) -> None:
    table = b"".join(entry(*pair) for pair in theirs)
    made, nothing = properties(table, **fields).spliced({}, **others), cast(dict[str, Any], dict.fromkeys(others))
    assert made.raw == properties(table, **(fields | others)).raw
    assert (
        made.spliced({}, **nothing).raw
        == properties(table, **{name: value for name, value in fields.items() if name not in others}).raw
    )


@given(TABLES.filter(lambda table: not _has_float(table)), MORE)
def test_pika_reads_the_properties_that_we_write_and_we_read_those_of_pika(
    headers: dict[str, Any], fields: dict[str, Any]
) -> None:
    ours = BasicProperties().decode(raw_of(headers, **fields))
    assert {name: getattr(ours, name) for name in fields} == fields
    theirs = Properties(b"".join(BasicProperties(headers=headers or None, **fields).encode()))
    assert {name: theirs.get(name) for name in fields} == fields
    assert theirs.headers() == headers


def test_nesting_beyond_a_bound_is_shown_as_its_bytes() -> None:
    value: Any = "deep"
    for _ in range(DEEPEST + 10):
        value = [value]
    raw = encode(value)
    found = decode(raw, 0, len(raw))
    for _ in range(DEEPEST):
        (found,) = found
    assert isinstance(found, bytes)


def test_a_time_that_no_datetime_holds_is_the_number_of_its_seconds() -> None:
    for seconds in (0, 1_700_000_000, 253_402_300_799, 253_402_300_800, 2**64 - 1):
        raw = b"T" + struct.pack(">Q", seconds)
        found = decode(raw, 0, 9)
        assert (found.timestamp() if isinstance(found, datetime) else found) == seconds


def test_numbers_of_other_clients_are_exact() -> None:
    for raw, value in (
        (b"f" + struct.pack(">f", 0.1), struct.unpack(">f", struct.pack(">f", 0.1))[0]),
        (b"d" + struct.pack(">d", 0.1), 0.1),
        (b"B\xff", 255),
        (b"s\xff\xfe", -2),
        (b"u\xff\xfe", 65_534),
        (b"i\xff\xff\xff\xff", 2**32 - 1),
        (b"D\x02" + struct.pack(">i", -150), Decimal("-1.50")),
    ):
        assert decode(raw, 0, len(raw)) == value
