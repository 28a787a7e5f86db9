"""What we send: fresh messages, retries, dead letters."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.fields import encode
from hermes_ray.broker.outgoing import (
    ATTEMPT,
    DUE_MS,
    PUBLISHED_MS,
    Outgoing,
    attempt_of,
    dead_letter,
    eligible_ms_of,
    encode_headers,
    fresh,
    reduced,
    retry,
)
from hermes_ray.broker.properties import FIELDS, Properties
from hermes_ray.outcome import DeadLetter
from tests.support.deliveries import delivery, raw_of

LETTER = DeadLetter(reason="attempts", error="ValueError: no", traceback="Traceback ...")


def foreign(**headers: Any) -> Delivery:
    """A message of somebody else's, with every property that must travel on."""
    return delivery(
        b"\0body",
        headers=headers,
        exchange=b"games",
        routing_key=b"pgcr.eu",
        content_type="text/x",
        content_encoding="gzip",
        delivery_mode=1,
        priority=4,
        correlation_id="c",
        reply_to="r",
        expiration="5000",
        message_id="m-1",
        timestamp=1_700_000_000,
        type="t",
        user_id="guest",
        app_id="a",
    )


def sent_again(message: Outgoing) -> Delivery:
    """It, as it comes out of the queue that it was sent to by way of a wait queue."""
    return Delivery(1, 2, b"\0\0\1q", message.properties.raw, message.body)


def again(of: Delivery, delay_ms: int = 2000) -> Outgoing:
    return retry(of, queue=f"q.wait.{delay_ms}", delay_ms=delay_ms, declare=None)


def bury(of: Delivery, letter: DeadLetter = LETTER) -> Outgoing:
    return dead_letter(of, queue="q.dead", topic="t", letter=letter, declare=None)


def headers_of(message: Outgoing) -> dict[str, Any]:
    return message.properties.headers()


FIRST_PLACE = {"x-hermes-original-exchange": "games", "x-hermes-original-routing-key": "pgcr.eu"}


def test_a_fresh_message_is_persistent_and_stamped_with_id_and_time() -> None:
    before_ms = time.time_ns() // 1_000_000
    one, two = fresh("q", b"x", table=encode_headers({"k": 1})), fresh("q", b"x", type="made", priority=7)
    assert one.properties.get("message_id") != two.properties.get("message_id")
    assert one.properties.get("delivery_mode") == 2
    assert headers_of(one)["k"] == 1
    assert before_ms <= headers_of(one)[PUBLISHED_MS] <= time.time_ns() // 1_000_000
    assert fresh("q", b"x", id="mine").properties.get("message_id") == "mine"
    assert (two.properties.get("type"), two.properties.get("priority")) == ("made", 7)


def test_the_short_way_to_a_fresh_message_leads_to_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_000_000_000)
    table = encode_headers({"k": "v"})
    assert (
        fresh("q", b"", table=table, id="i").properties.raw
        == fresh("q", b"", table=table, id="i", type=None).properties.raw
    )


def test_a_retry_keeps_the_message_and_counts_one_attempt_more() -> None:
    now_ms = time.time_ns() // 1_000_000
    made = retry(foreign(k="v"), queue="q.wait.2000", delay_ms=2000, declare={"x-message-ttl": 2000})
    headers = headers_of(made)
    assert (made.queue, made.body, made.declare) == ("q.wait.2000", b"\0body", {"x-message-ttl": 2000})
    assert (headers["k"], headers[ATTEMPT]) == ("v", 2)
    assert now_ms + 2000 <= headers[DUE_MS] <= now_ms + 22_000
    once_more = again(sent_again(made), 4000)
    assert headers_of(once_more)[ATTEMPT] == 3
    for name in FIELDS:
        if name not in ("headers", "delivery_mode", "expiration", "user_id"):
            assert once_more.properties.get(name) == Properties(foreign().raw).get(name), name
    assert once_more.properties.get("delivery_mode") == 2, "what we resend survives the broker's restart"


def test_where_it_was_first_published_to_is_known_at_every_attempt() -> None:
    message = again(foreign())
    for _ in range(3):
        assert headers_of(message).items() >= FIRST_PLACE.items()
        message = again(sent_again(message))
    assert headers_of(bury(sent_again(message))).items() >= FIRST_PLACE.items()


def test_what_would_expire_it_or_have_the_broker_refuse_it_is_kept_where_it_has_no_effect() -> None:
    for made in (again(foreign()), bury(foreign()), again(sent_again(again(foreign())))):
        assert (made.properties.get("expiration"), made.properties.get("user_id")) == (None, None)
        headers = headers_of(made)
        kept = (headers["x-hermes-original-expiration"], headers["x-hermes-original-user-id"])
        assert kept == ("5000", "guest")


def test_a_message_without_id_has_one_from_its_first_retry_on() -> None:
    first = again(delivery())
    second = again(sent_again(first))
    assert first.properties.get("message_id")
    assert second.properties.get("message_id") == first.properties.get("message_id")


BROKERS = {
    "CC": ["q"],
    "BCC": ["elsewhere"],
    "x-death": [{"count": 1}],
    "x-first-death-queue": "q",
    "x-last-death-reason": "expired",
    "x-delivery-count": 3,
    "x-acquired-count": 3,
}


@pytest.mark.parametrize("sends", [again, bury])
def test_headers_that_a_broker_acts_on_are_kept_where_it_does_not(sends: Callable[[Delivery], Outgoing]) -> None:
    headers = headers_of(sends(foreign(**BROKERS, mine=1, CCC="no", cc="no")))
    assert not headers.keys() & BROKERS.keys()
    assert headers.items() >= {f"x-hermes-original-{name}": value for name, value in BROKERS.items()}.items()
    assert headers.items() >= {"mine": 1, "CCC": "no", "cc": "no"}.items()


def test_what_the_broker_has_written_on_the_way_through_our_queues_is_left_behind() -> None:
    """Else it would be taken for what the message had at first, or make that longer at each attempt."""
    for at_first in ({}, {"x-death": [{"queue": "theirs"}]}):
        sent = again(foreign(**at_first))
        ours = sent.properties.spliced({"x-death": encode([{"queue": "q.wait.2000"}])})
        headers = headers_of(again(Delivery(1, 2, b"\0\0\1q", ours.raw, b"")))
        assert {key for key in headers if "death" in key} == {f"x-hermes-original-{key}" for key in at_first}
        assert headers.get("x-hermes-original-x-death") == at_first.get("x-death")


def test_a_dead_letter_says_why_and_after_how_many_attempts() -> None:
    headers = headers_of(bury(delivery(headers={ATTEMPT: 5, "k": "v"}, exchange=b"games", routing_key=b"pgcr.eu")))
    assert headers == {
        "k": "v",
        ATTEMPT: 5,
        "x-hermes-reason": "attempts",
        "x-hermes-error": "ValueError: no",
        "x-hermes-traceback": "Traceback ...",
        "x-hermes-topic": "t",
        **FIRST_PLACE,
    }


def test_a_dead_letter_that_is_moved_back_begins_anew() -> None:
    back = sent_again(bury(foreign(**{ATTEMPT: 5})))
    assert attempt_of(Properties(back.raw)) == 1
    headers = headers_of(again(back))
    assert headers[ATTEMPT] == 2
    assert not headers.keys() & {"x-hermes-reason", "x-hermes-error", "x-hermes-traceback", "x-hermes-topic"}
    assert headers.items() >= FIRST_PLACE.items()


@pytest.mark.parametrize("filler", ["x", "\u20ac"])
def test_a_long_error_keeps_its_beginning_and_a_long_traceback_its_end(filler: str) -> None:
    letter = DeadLetter(reason="permanent", error="E" + filler * 10_000, traceback=filler * 10_000 + "E")
    made = bury(foreign(), letter)
    headers = headers_of(made)
    assert (headers["x-hermes-error"][0], headers["x-hermes-traceback"][-1]) == ("E", "E")
    assert len(made.properties.raw) < 8192


def test_an_error_that_quotes_half_a_surrogate_pair_can_be_sent() -> None:
    name = json.loads('"\\ud800"')
    letter = DeadLetter(reason="permanent", error=f"PermanentError: bad name {name}", traceback=f"... {name}")
    assert headers_of(bury(foreign(), letter))["x-hermes-error"] == "PermanentError: bad name ?"


@pytest.mark.parametrize("value", [None, 0, -1, "2", 2.5, b"3", [1], True])
def test_an_attempt_nobody_could_have_written_counts_as_the_first(value: Any) -> None:
    assert attempt_of(Properties(raw_of({ATTEMPT: value}))) == 1


def test_without_headers_it_is_the_first_attempt() -> None:
    assert attempt_of(Properties()) == 1
    assert attempt_of(Properties(raw_of({ATTEMPT: 7}))) == 7


def test_headers_of_all_kinds_amqp_has_are_let_through() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    headers = {"s": "é", "b": b"\xff", "t": True, "i": -(2**63), "d": Decimal("1.5"), "at": now, "n": None, "f": 0.1}
    headers |= {"list": [1, ["a"]], "table": {"k": {"l": 1}}, "tuple": (1,)}
    made = fresh("q", b"", table=encode_headers(headers))
    assert headers_of(made).items() >= (headers | {"tuple": [1]}).items()
    assert encode_headers({}) == b""


@pytest.mark.parametrize(
    "headers",
    [
        {"k": object()},
        {"k": {1, 2}},
        {"k": [1, {"l": 1j}]},
        {"k": 2**63},
        {"k": "\ud800"},
        {"k" * 256: 1},
        {7: 1},
        {"k": "x" * 70_000},
        {"k": float("nan")},
        {"k": [float("inf")]},
        {"k": Decimal("1e40")},
        {"k": Decimal("NaN")},
        {"k": datetime(1969, 1, 1, tzinfo=UTC)},
        {"\ud800": 1},
        [("k", 1)],
        {"k": []},
    ],
    ids=lambda headers: str(headers)[:20],
)
def test_headers_that_cannot_be_sent_are_refused_in_the_handler(headers: Any) -> None:
    if headers == {"k": []}:
        headers["k"].append(headers["k"])
    with pytest.raises(ValueError, match=r"^these headers "):
        encode_headers(headers)


@pytest.mark.parametrize("room_bytes", [126_000, 8_192, 4_096])
def test_a_dead_letter_loses_what_does_not_fit_into_a_frame_and_says_what(room_bytes: int) -> None:
    theirs = {f"h{n}": "x" * n * 1_000 for n in range(20)}
    letter = DeadLetter(reason="permanent", error="E", traceback="T" * 4_000)
    made = reduced(bury(foreign(**theirs), letter), room_bytes)
    headers = headers_of(made)
    assert len(made.properties.raw) <= room_bytes
    assert headers["x-hermes-reason"] == "permanent"
    cut = headers["x-hermes-cut"].split(", ")
    assert cut[0] == "x-hermes-traceback"
    assert set(cut[1:]) == theirs.keys() - headers.keys()


def test_headers_without_number_are_cut_in_one_go() -> None:
    """27,800 of them took 9 s, in which the connection was lost, and then again."""
    theirs = {f"k{n}": n for n in range(8_000)}
    made = reduced(bury(foreign(**theirs)), 10_000)
    assert len(made.properties.raw) <= 10_000
    assert headers_of(made)["x-hermes-reason"] == "attempts"


@pytest.mark.parametrize("table", [b"", encode_headers({"a": 1})])
def test_when_a_message_could_have_been_handled_is_read_off_its_stamp(table: bytes) -> None:
    made = fresh("q", b"", table=table).properties
    assert eligible_ms_of(made.raw) == made.header(PUBLISHED_MS)
    assert eligible_ms_of(made.raw[:34]) is None, "cut short"


def test_a_dead_letter_that_fits_is_not_sent_again_as_a_reduced_one() -> None:
    made = bury(foreign())
    assert reduced(made, 100_000) is made
