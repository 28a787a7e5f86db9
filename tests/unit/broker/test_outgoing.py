from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pika.data import encode_table
from pika.spec import BasicProperties

from hermes_ray.broker.outgoing import (
    ATTEMPT,
    DUE_MS,
    PUBLISHED_MS,
    attempt_of,
    check_headers,
    dead_letter,
    fresh,
    retry,
)
from hermes_ray.message import DeadLetter

LETTER = DeadLetter(reason="attempts", error="ValueError: no", traceback="Traceback ...")


def foreign(**headers: Any) -> BasicProperties:
    """A message of somebody else's, with every property that must travel on."""
    return BasicProperties(
        content_type="text/x",
        content_encoding="gzip",
        headers=headers,
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


def bury(properties: BasicProperties, letter: DeadLetter = LETTER) -> dict[str, Any]:
    made = dead_letter(properties, b"body", queue="q.dead", topic="t", letter=letter, declare=None)
    return dict(made.properties.headers)


def test_a_fresh_message_is_persistent_and_stamped_with_id_and_time() -> None:
    before_ms = time.time_ns() // 1_000_000
    one, two = fresh("q", b"x", headers={"k": 1}), fresh("q", b"x")
    assert one.properties.message_id != two.properties.message_id
    assert one.properties.delivery_mode == 2
    assert one.properties.headers["k"] == 1
    assert before_ms <= one.properties.headers[PUBLISHED_MS] <= time.time_ns() // 1_000_000
    assert fresh("q", b"x", id="mine").properties.message_id == "mine"


def test_our_stamp_wins_over_a_header_of_the_same_name() -> None:
    assert fresh("q", b"", headers={PUBLISHED_MS: 1}).properties.headers[PUBLISHED_MS] > 1


def test_a_retry_keeps_the_message_and_counts_one_attempt_more() -> None:
    now_ms = time.time_ns() // 1_000_000
    made = retry(foreign(k="v"), b"\x00body", queue="q.wait.2000", delay_ms=2000, declare={"x-message-ttl": 2000})
    headers = made.properties.headers
    assert (made.queue, made.body, made.declare) == ("q.wait.2000", b"\x00body", {"x-message-ttl": 2000})
    assert (headers["k"], headers[ATTEMPT]) == ("v", 2)
    assert now_ms + 2000 <= headers[DUE_MS] <= now_ms + 22_000
    again = retry(made.properties, made.body, queue="q.wait.4000", delay_ms=4000, declare=None)
    assert again.properties.headers[ATTEMPT] == 3
    for kept in ("content_type", "content_encoding", "priority", "correlation_id", "reply_to", "message_id"):
        assert getattr(again.properties, kept) == getattr(foreign(), kept)
    assert (again.properties.timestamp, again.properties.type, again.properties.app_id) == (1_700_000_000, "t", "a")
    assert again.properties.delivery_mode == 2, "what we resend survives the broker's restart"


def test_what_would_expire_it_or_have_the_broker_refuse_it_does_not_travel_on() -> None:
    made = retry(foreign(), b"", queue="q", delay_ms=1, declare=None)
    assert (made.properties.expiration, made.properties.user_id) == (None, None)


def test_a_message_without_id_has_one_from_its_first_retry_on() -> None:
    first = retry(BasicProperties(), b"", queue="q", delay_ms=1, declare=None)
    second = retry(first.properties, b"", queue="q", delay_ms=1, declare=None)
    assert first.properties.message_id
    assert second.properties.message_id == first.properties.message_id


def test_the_brokers_own_headers_are_left_behind() -> None:
    theirs: dict[str, Any] = {"x-death": [{"count": 1}], "x-first-death-queue": "q", "x-last-death-reason": "expired"}
    theirs |= {"x-delivery-count": 3, "x-acquired-count": 3}
    headers = retry(foreign(**theirs, mine=1), b"", queue="q", delay_ms=1, declare=None).properties.headers
    assert set(headers) == {"mine", ATTEMPT, DUE_MS}


def test_a_dead_letter_says_why_and_after_how_many_attempts() -> None:
    headers = bury(foreign(**{ATTEMPT: 5, "k": "v"}))
    assert headers == {
        "k": "v",
        ATTEMPT: 5,
        "x-hermes-reason": "attempts",
        "x-hermes-error": "ValueError: no",
        "x-hermes-traceback": "Traceback ...",
        "x-hermes-topic": "t",
    }


@pytest.mark.parametrize("filler", ["x", "\u20ac"])
def test_a_long_error_keeps_its_beginning_and_a_long_traceback_its_end(filler: str) -> None:
    letter = DeadLetter(reason="permanent", error="E" + filler * 10_000, traceback=filler * 10_000 + "E")
    headers = bury(foreign(), letter)
    assert (headers["x-hermes-error"][0], headers["x-hermes-traceback"][-1]) == ("E", "E")
    assert encode_table([], headers) < 8192


def test_an_error_that_quotes_half_a_surrogate_pair_can_be_sent() -> None:
    name = json.loads('"\\ud800"')
    letter = DeadLetter(reason="permanent", error=f"PermanentError: bad name {name}", traceback=f"... {name}")
    headers = bury(foreign(), letter)
    encode_table([], headers)
    assert headers["x-hermes-error"] == "PermanentError: bad name ?"


def test_a_header_name_that_is_no_text_is_passed_on() -> None:
    odd = BasicProperties(headers={b"\xff": 1, "x-death": []})
    headers = retry(odd, b"", queue="q", delay_ms=1, declare=None).properties.headers
    assert headers[b"\xff"] == 1
    assert "x-death" not in headers


@pytest.mark.parametrize("value", [None, 0, -1, "2", 2.5, b"3", [1]])
def test_an_attempt_nobody_could_have_written_counts_as_the_first(value: Any) -> None:
    assert attempt_of(BasicProperties(headers={ATTEMPT: value})) == 1


def test_without_headers_it_is_the_first_attempt() -> None:
    assert attempt_of(BasicProperties()) == 1
    assert attempt_of(BasicProperties(headers={ATTEMPT: 7})) == 7


def test_headers_of_all_kinds_amqp_has_are_let_through() -> None:
    check_headers(
        {"s": "é", "b": b"\xff", "t": True, "i": -(2**63), "d": Decimal("1.5"), "at": datetime.now(UTC), "n": None}
        | {"list": [1, ["a"]], "table": {"k": {"l": 1}}}
    )
    check_headers({})


@pytest.mark.parametrize(
    "headers",
    [
        {"k": 1.5},
        {"k": object()},
        {"k": {1, 2}},
        {"k": [1, {"l": 2.5}]},
        {"k": 2**63},
        {"k": "\ud800"},
        {"k" * 256: 1},
        {7: 1},
        {"k": "x" * 70_000},
    ],
    ids=lambda headers: str(headers)[:20],
)
def test_headers_that_cannot_be_sent_are_refused_in_the_handler(headers: Any) -> None:
    with pytest.raises(ValueError, match=r"^these headers "):
        check_headers(headers)


def test_a_dead_letter_whose_headers_nearly_fill_a_frame_leaves_out_the_traceback() -> None:
    letter = DeadLetter(reason="permanent", error="E", traceback="T" * 4_000)
    for filler_bytes, has_traceback in ((100_000, True), (124_000, False)):
        properties = BasicProperties(headers={"foreign": "x" * filler_bytes})
        message = dead_letter(properties, b"", queue="q.dead", topic="q", letter=letter, declare=None)
        assert ("x-hermes-traceback" in message.properties.headers) is has_traceback
        assert message.properties.headers["x-hermes-reason"] == "permanent"
        assert sum(map(len, message.properties.encode())) < 131_072
