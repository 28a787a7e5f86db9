"""Frames cut from the wire, against pika's decoder, however the bytes arrive."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.frames import Cutter, MalformedFrame, Receiver, ack_frames, publish_frames
from tests.support.deliveries import raw_of

CHANNEL = 1
BODY_BYTES = 50  # of a frame in these streams


class Ear:
    """All that a cutter tells, in order, each as a plain tuple."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.cutter = Cutter(lambda whole: self.heard.append(("other", whole)))
        self.cutter.listen(
            Receiver(
                CHANNEL,
                epoch=7,
                on_deliveries=self._deliveries,
                on_return=lambda key, raw: self.heard.append(("return", key, raw)),
                on_confirm=lambda *said: self.heard.append(("confirm", *said)),
            )
        )

    def _deliveries(self, batch: Sequence[Delivery]) -> None:
        assert all(each.epoch == 7 for each in batch)
        self.heard += [("deliver", d.tag, d.is_redelivered, d.exchange, d.routing_key, d.raw, d.body) for d in batch]


def content(method: Any, raw: bytes, body: bytes, channel: int = CHANNEL) -> bytes:
    header = spec.Basic.INDEX.to_bytes(2, "big") + b"\0\0" + len(body).to_bytes(8, "big") + raw
    count = math.ceil(len(body) / BODY_BYTES)
    bodies = [frame.Body(channel, body[n * BODY_BYTES : (n + 1) * BODY_BYTES]).marshal() for n in range(count)]
    head = b"\x02" + channel.to_bytes(2, "big") + len(header).to_bytes(4, "big") + header + b"\xce"
    return b"".join([frame.Method(channel, method).marshal(), head, *bodies])


NAMES = st.text("abcdefgh.", max_size=12)
RAW = st.builds(
    raw_of,
    st.dictionaries(NAMES.filter(bool), st.integers(-9, 9) | NAMES, max_size=3),
    message_id=NAMES,
)
BODIES = st.binary(max_size=3 * BODY_BYTES)
TAGS = st.integers(0, 2**64 - 1)


@st.composite
def _deliver(draw: st.DrawFn) -> tuple[bytes, list[tuple[Any, ...]]]:
    consumer, tag, again = draw(st.sampled_from(["ctag1.a", "ctag1.b", "x"])), draw(TAGS), draw(st.booleans())
    exchange, key, raw, body = draw(NAMES), draw(NAMES), draw(RAW), draw(BODIES)
    method = spec.Basic.Deliver(consumer, tag, again, exchange, key)
    return content(method, raw, body), [("deliver", tag, again, exchange.encode(), key.encode(), raw, body)]


@st.composite
def _return(draw: st.DrawFn) -> tuple[bytes, list[tuple[Any, ...]]]:
    key, raw = draw(NAMES), draw(RAW)
    return content(spec.Basic.Return(312, "NO_ROUTE", "", key), raw, draw(BODIES)), [("return", key, raw)]


@st.composite
def _confirm(draw: st.DrawFn) -> tuple[bytes, list[tuple[Any, ...]]]:
    tag, multiple, is_ack = draw(TAGS), draw(st.booleans()), draw(st.booleans())
    method = spec.Basic.Ack(tag, multiple) if is_ack else spec.Basic.Nack(tag, multiple, False)
    return frame.Method(CHANNEL, method).marshal(), [("confirm", tag, multiple, is_ack)]


@st.composite
def _other(draw: st.DrawFn) -> tuple[bytes, list[tuple[Any, ...]]]:
    whole = draw(
        st.sampled_from(
            [
                frame.Heartbeat().marshal(),
                frame.Method(CHANNEL, spec.Basic.CancelOk("ctag1.a")).marshal(),
                frame.Method(CHANNEL, spec.Channel.Flow(True)).marshal(),
                frame.Method(2, spec.Basic.Ack(1)).marshal(),
            ]
        )
    )
    return whole, [("other", whole)]


STREAMS = st.lists(st.one_of(_deliver(), _deliver(), _return(), _confirm(), _other()), max_size=12)


def feed(ear: Ear, data: bytes, cuts: Sequence[int]) -> None:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for first, last in pairwise(edges):
        if first < last:
            ear.cutter.feed(data[first:last])


@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=20))
def test_everything_is_told_once_and_in_order_wherever_the_bytes_are_split(
    stream: list[tuple[bytes, list[tuple[Any, ...]]]], cuts: list[int]
) -> None:
    ear = Ear()
    feed(ear, b"".join(part for part, _ in stream), cuts)
    assert ear.heard == [told for _, tells in stream for told in tells]


@given(STREAMS)
def test_byte_by_byte_it_is_the_same(stream: list[tuple[bytes, list[tuple[Any, ...]]]]) -> None:
    ear = Ear()
    for byte in b"".join(part for part, _ in stream):
        ear.cutter.feed(bytes([byte]))
    assert ear.heard == [told for _, tells in stream for told in tells]


@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=5), st.data())
def test_bytes_that_are_no_amqp_end_it_or_are_told_of_but_nothing_else_is_raised(
    stream: list[tuple[bytes, list[tuple[Any, ...]]]], cuts: list[int], data: st.DataObject
) -> None:
    whole = bytearray(b"".join(part for part, _ in stream))
    for _ in range(data.draw(st.integers(1, 4))):
        if whole:
            at = data.draw(st.integers(0, len(whole) - 1))
            whole[at] = data.draw(st.integers(0, 255))
    ear = Ear()
    try:
        feed(ear, bytes(whole), cuts)
    except MalformedFrame:
        return
    for told in ear.heard:
        if told[0] == "deliver":
            assert all(isinstance(part, bytes) for part in told[3:])


@given(st.lists(st.tuples(TAGS, st.booleans()), max_size=9))
def test_acks_are_those_that_pika_would_send(acks: list[tuple[int, bool]]) -> None:
    assert ack_frames(5, acks) == b"".join(frame.Method(5, spec.Basic.Ack(*ack)).marshal() for ack in acks)


@given(NAMES, RAW, BODIES)
def test_a_publish_is_the_one_that_pika_would_send(queue: str, raw: bytes, body: bytes) -> None:
    method = spec.Basic.Publish(0, "", queue, mandatory=True)
    assert publish_frames(3, queue, raw, body, BODY_BYTES) == content(method, raw, body, channel=3)


DELIVER = spec.Basic.Deliver("c", 1, False, "", "q")
SHORT = content(DELIVER, raw_of(), b"x")


@pytest.mark.parametrize(
    "broken",
    [
        b"\x01\0\x01\0\0\0\x04\0\x3c\0\x3c\xce",
        b"\x01\0\x01\0\0\0\x05\0\x3c\0\x3c\xff\xce",
        b"\x01\0\x01\0\0\0\x06\0\x3c\0\x50\0\0\xce",
        b"\x01\0\x01\0\0\0\x06\0\x3c\0\x32\0\0\xce",
        b"\x01\0\x01\0\0\0\x04\0\x0a\0\x0a\xcf",
        b"\x01\0\x01\xff\0\0\0",
        SHORT[:-1] + b"\xcf",
        SHORT[:-9] + frame.Method(CHANNEL, DELIVER).marshal(),
        SHORT[:-9] + frame.Body(CHANNEL, b"xy").marshal(),
        frame.Method(CHANNEL, DELIVER).marshal() * 2,
        frame.Method(CHANNEL, DELIVER).marshal() + b"\x02\0\x01\0\0\0\x02\0\x3c\xce",
    ],
    ids=repr,
)
def test_a_broken_frame_is_refused_at_once(broken: bytes) -> None:
    for before in (b"", SHORT):
        with pytest.raises(MalformedFrame):
            Ear().cutter.feed(before + broken)


def test_a_hundred_megabytes_in_small_pieces_are_put_together_once() -> None:
    body = bytes(range(256)) * 4096 * 16
    ear = Ear()
    ear.cutter.most_bytes = 1 << 31
    head = b"\0\x3c\0\0" + len(body).to_bytes(8, "big") + raw_of()
    data = frame.Method(CHANNEL, DELIVER).marshal()
    data += b"\x02\0\x01" + len(head).to_bytes(4, "big") + head + b"\xce" + frame.Body(1, body).marshal()
    for at in range(0, len(data), 4096):
        ear.cutter.feed(data[at : at + 4096])
    assert [told[-1] == body for told in ear.heard] == [True]


@pytest.mark.slow
def test_a_hundred_thousand_streams_are_told_as_they_were_written() -> None:
    draw = random.Random(7)
    parts = [_some_part(draw) for _ in range(2_000)]
    for _ in range(100_000):
        stream = draw.choices(parts, k=draw.randrange(1, 6))
        data = b"".join(part for part, _ in stream)
        ear = Ear()
        feed(ear, data, [draw.randrange(len(data) + 1) for _ in range(draw.randrange(6))])
        assert ear.heard == [told for _, told in stream]


def _some_part(draw: random.Random) -> tuple[bytes, tuple[Any, ...]]:
    """A delivery, a return or a confirm, and what is told of it."""
    key, tag = "q" * draw.randrange(9), draw.randrange(2**63)
    raw, body = raw_of({"k": draw.randrange(99)}, message_id=str(tag)), draw.randbytes(draw.randrange(3 * BODY_BYTES))
    kind = draw.randrange(4)
    if kind == 0:
        return frame.Method(CHANNEL, spec.Basic.Ack(tag, True)).marshal(), ("confirm", tag, True, True)
    if kind == 1:
        return content(spec.Basic.Return(312, "NO_ROUTE", "", key), raw, body), ("return", key, raw)
    deliver = spec.Basic.Deliver("ctag1.a", tag, kind == 2, "x", key)
    return content(deliver, raw, body), ("deliver", tag, kind == 2, b"x", key.encode(), raw, body)
