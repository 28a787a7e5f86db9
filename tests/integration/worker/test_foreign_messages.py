"""Messages as others send them, in the middle of ordinary ones: handled, retried, kept, and no harm to anybody else."""

from __future__ import annotations

import struct
import time
from collections import Counter
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.broker.fields import encode, encode_entry
from hermes_ray.broker.outgoing import ATTEMPT
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.properties import Properties, properties
from hermes_ray.broker.topology import queue_arguments
from tests.support.deliveries import raw_of
from tests.support.ledger import declare, publish, ready_count, until
from tests.support.raw_client import put_raw, take_raw
from tests.support.workers import working

ODD, GOOD_COUNT = b"odd", 20


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"k": [value]}
    return value


def entry(key: bytes, value: bytes) -> bytes:
    return bytes([len(key)]) + key + value


# The next message that hurts is a row: the entries of its headers, and its other properties.
HEADERS: dict[str, bytes] = {
    "a double": entry(b"d", b"d" + struct.pack(">d", 0.1)),
    "a float": entry(b"f", b"f" + struct.pack(">f", 0.1)),
    "a byte": entry(b"b", b"b\xff"),
    "an unsigned byte": entry(b"B", b"B\xff"),
    "a short": entry(b"s", b"s\xff\xff"),
    "an unsigned int": entry(b"i", b"i\xff\xff\xff\xff"),
    "a long": entry(b"l", b"l" + b"\xff" * 8),
    "a time beyond all dates": entry(b"T", b"T" + b"\x7f" + b"\xff" * 7),
    "a decimal": entry(b"D", b"D\x02\0\0\0\x96"),
    "nothing": entry(b"V", b"V"),
    "bytes": entry(b"x", b"x\0\0\0\x02\xff\xfe"),
    "text that is no UTF-8": entry(b"S", b"S\0\0\0\x02\xff\xfe"),
    "a name that is no UTF-8": entry(b"\xff\xfe", b"t\1"),
    "no name": entry(b"", b"t\1"),
    "a long name": entry(b"n" * 255, b"t\1"),
    "the same name twice": entry(b"k", b"t\1") + entry(b"k", b"t\0"),
    "deep nesting": encode_entry("deep", encode(deep(60))),
    "many headers": b"".join(encode_entry(f"h{n}", encode(n)) for n in range(500)),
    "100 kB of headers": encode_entry("large", encode("x" * 100_000)),
    "copies to its own queue": encode_entry("CC", encode(["q"])),
    "hidden copies to its own queue": encode_entry("BCC", encode(["q", "q.dead"])),
    "a history of deaths in a circle": encode_entry("x-death", encode([{"queue": "q", "reason": "expired"}])),
    "our attempt as text": encode_entry(ATTEMPT, encode("many")),
    "our time as text": encode_entry("x-hermes-published-ms", encode("yesterday")),
}
FIELDS: dict[str, dict[str, Any]] = {
    "no properties": {},
    "a user": {"user_id": "guest"},
    "an expiration": {"expiration": "600000"},
    "a transient message": {"delivery_mode": 1},
    "a priority": {"priority": 255},
    "a time beyond all dates of its own": {"timestamp": 2**63},
    "an empty id": {"message_id": ""},
    "an encoding that nobody knows": {"content_encoding": "zstd", "content_type": "text/x; charset=none"},
    "long words": {"type": "t" * 255, "app_id": "ü" * 127, "correlation_id": "c" * 255},
}
ODD_ONES = {name: properties(table, message_id="odd").raw for name, table in HEADERS.items()}
ODD_ONES |= {name: raw_of(**fields) for name, fields in FIELDS.items()}


def fail_odd(message: Message) -> None:
    dict(message.headers)
    assert repr(message), (message.id, message.published_at_s, message.routing_key, message.timestamp)
    if message.body == ODD:
        raise RuntimeError("an odd one")


@pytest.mark.parametrize("odd", ODD_ONES.values(), ids=ODD_ONES)
def test_an_odd_message_is_retried_and_kept_as_it_was_and_its_neighbours_pass(vhost_url: str, odd: bytes) -> None:
    seen: Counter[bytes] = Counter()

    def handle(message: Message) -> None:
        seen[message.body] += 1
        fail_odd(message)

    declare(vhost_url, "q", queue_arguments("quorum"))
    good = [(b"good %d" % n, raw_of(message_id=str(n))) for n in range(GOOD_COUNT)]
    put_raw(vhost_url, *good[:10], (ODD, odd), *good[10:])
    with working(vhost_url, handle, max_attempts=2, rungs_ms=(50,)) as worker:
        until(lambda: worker["acked"] == GOOD_COUNT and worker["dead_lettered_attempts"] == 1, "all are settled")
        assert (worker["reconnects"], worker["retried"]) == (0, 1)
    assert seen == Counter({body: 1 for body, _ in good} | {ODD: 2})
    assert ready_count(vhost_url) == 0
    (dead,) = take_raw(vhost_url, "q.dead", 1)
    made, was = Properties(dead.raw), Properties(odd)
    assert dead.body == ODD
    kept = {key: value for key, value in was.headers().items() if not key.startswith(("x-", "CC", "BCC"))}
    assert repr({key: made.headers()[key] for key in kept}) == repr(kept)
    for name in ("content_type", "content_encoding", "priority", "correlation_id", "type", "timestamp", "app_id"):
        assert made.get(name) == was.get(name), name


@pytest.mark.parametrize("body", [b"", b"x" * 4096, b"x" * 1_000_000, b"x" * 20_000_000], ids=len)
def test_bodies_of_any_size_come_and_go(vhost_url: str, body: bytes) -> None:
    declare(vhost_url, "q", queue_arguments("classic"))
    declare(vhost_url, "other.q", queue_arguments("classic"))
    put_raw(vhost_url, *[(body, raw_of(message_id=str(n))) for n in range(3)])
    with working(vhost_url, lambda message: message.publish("other", message.body), queue_type="classic") as worker:
        until(lambda: worker["acked"] == 3, "all are handled")
        assert worker["reconnects"] == 0
    assert [each.body == body for each in take_raw(vhost_url, "other.q", 3)] == [True] * 3


def test_a_publish_that_the_broker_refuses_fails_its_delivery_with_the_brokers_words_and_no_other(
    vhost_url: str, small_messages: None
) -> None:
    def handle(message: Message) -> None:
        message.publish("other", b"x" * (20_000 if message.body == ODD else 10))

    declare(vhost_url, "other.q", queue_arguments("classic"))
    declare(vhost_url, "q", queue_arguments("quorum"))
    put_raw(vhost_url, *[(ODD if n % 10 == 5 else b"%d" % n, raw_of(message_id=str(n))) for n in range(100)])
    with working(vhost_url, handle, max_attempts=1) as worker:
        until(lambda: worker["acked"] == 90 and worker["dead_lettered_attempts"] == 10, "all are settled")
        assert worker["reconnects"] == 0
    published = take_raw(vhost_url, "other.q", ready_count(vhost_url, "other.q"))
    ids = {Properties(each.raw).get("message_id") for each in published}
    assert len(ids) == 90, "one that was on its way with a refused one may come twice, with the same id"
    for dead in take_raw(vhost_url, "q.dead", 10):
        error = Properties(dead.raw).header("x-hermes-error")
        assert "other.q" in error
        assert "10000" in error, error


def test_what_can_be_moved_nowhere_is_held_said_and_hurts_nobody(
    vhost_url: str, broker: LocalBroker, request: pytest.FixtureRequest
) -> None:
    def fail(message: Message) -> None:
        if len(message.body) > 10_000 or message.body == b"retried":
            raise RuntimeError("the database is away")

    declare(vhost_url, "q", queue_arguments("quorum"))
    large = [(b"x" * 20_000, raw_of(message_id=f"large {n}")) for n in range(3)]
    good = [(b"good", raw_of(message_id=str(n))) for n in range(50)]
    put_raw(vhost_url, *good[:25], *large, *good[25:], (b"retried", raw_of(message_id="retried")))
    request.getfixturevalue("small_messages")
    with working(vhost_url, fail, max_attempts=3, rungs_ms=(50,)) as worker:
        until(lambda: worker["acked"] == 50 and worker["dead_lettered_attempts"] == 1, "the others are settled")
        until(lambda: worker["unmovable"] == 3, "the large ones are held")
        until(lambda: worker["held"] == 3, "no other is")
        runs = worker["finished"]
        assert worker["reconnects"] == 0
        publish(vhost_url, 20)
        until(lambda: worker["acked"] == 70, "work goes on")
        assert worker["finished"] == runs + 20, "they are not tried again and again"
    assert ready_count(vhost_url) == 3


def test_a_dead_letter_that_is_moved_back_has_all_its_attempts_anew(vhost_url: str) -> None:
    attempts: list[int] = []

    def fail(message: Message) -> None:
        attempts.append(message.attempt)
        raise RuntimeError("the database is away")

    with working(vhost_url, fail, max_attempts=2, rungs_ms=(50,)) as worker:
        publish(vhost_url, 1)
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is given up")
        (dead,) = take_raw(vhost_url, "q.dead", 1)
        waited_s = worker["wait_s"]
        time.sleep(1.2)  # this is no wait for a worker
        put_raw(vhost_url, (dead.body, dead.raw))
        until(lambda: worker["dead_lettered_attempts"] == 2, "it is given up once more")
        assert worker["wait_s"] - waited_s < 1.0
    assert attempts == [1, 2, 1, 2]


def test_a_reply_goes_to_who_waits_for_it_and_nobody_there_is_no_failure(vhost_url: str) -> None:
    def answer(message: Message) -> None:
        message.reply({"got": message.body.decode()}, type="answer")

    declare(vhost_url, "q", queue_arguments("quorum"))
    declare(vhost_url, "answers", {})
    put_raw(
        vhost_url,
        (b"gone", raw_of(reply_to="nobody", message_id="1")),
        (b"here", raw_of(reply_to="answers", correlation_id="c-7", message_id="2")),
    )
    with working(vhost_url, answer) as worker:
        until(lambda: worker["acked"] == 2, "both are answered")
    (reply,) = take_raw(vhost_url, "answers", 1)
    made = Properties(reply.raw)
    assert (reply.body, made.get("correlation_id"), made.get("type")) == (b'{"got": "here"}', "c-7", "answer")
