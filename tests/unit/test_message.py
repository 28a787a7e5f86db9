from __future__ import annotations

import copy
import gzip
import json
import pickle
import re
import uuid
import zlib
from collections.abc import Mapping
from typing import Any

import pytest

from hermes_ray import Message, PermanentError
from hermes_ray.broker.outgoing import encode_headers


def ids(message: Message) -> list[str]:
    return [publish.id for publish in message.publishes]


def test_a_message_can_be_built_by_hand_to_test_a_handler() -> None:
    message = Message(b'{"id": 7}')
    assert message.json() == {"id": 7}
    assert (message.id, message.attempt, message.published_at_s, message.headers) == (None, 1, None, {})


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\xfa", b"NaN{}", b"{'id': 7}"])
def test_a_body_that_is_not_json_is_a_permanent_error(body: bytes) -> None:
    with pytest.raises(PermanentError, match="the body is not JSON"):
        Message(body).json()


def test_bodies_are_sent_as_bytes_text_or_json() -> None:
    message = Message(b"")
    for body in (b"\x00raw", bytearray(b"a"), memoryview(b"bc")[1:], "größe", {"a": [1, None]}, None, 7):
        message.publish("t", body)
    sent = [b"\x00raw", b"a", b"c", "größe".encode(), b'{"a": [1, null]}', b"null", b"7"]
    assert [p.body for p in message.publishes] == sent


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_message_that_would_be_handed_to_another_process_says_what_to_pass_on(duplicate: Any) -> None:
    with pytest.raises(TypeError, match=r"pass on message\.body"):
        duplicate(Message(b"x"))


@pytest.mark.parametrize("topic", [None, 7, b"t", ["t"], {}])
@pytest.mark.parametrize("reply_to", [None, "answers"])
def test_a_topic_that_is_no_text_is_refused_and_is_no_reply(topic: Any, reply_to: str | None) -> None:
    message = Message(b"", reply_to=reply_to)
    with pytest.raises(ValueError, match=re.escape(f"the topic to publish to is {topic!r}: it must be text")):
        message.publish(topic, b"1")
    assert (message.has_published, message.publishes) == (False, ())


@pytest.mark.parametrize("headers", [[1, 2], "tenant", 7])
def test_headers_that_are_no_mapping_are_refused(headers: Any) -> None:
    message = Message(b"")
    with pytest.raises(ValueError, match="they must be a mapping"):
        message.publish("t", b"x", headers)
    assert not message.publishes


def test_publishing_the_same_again_after_a_redelivery_gives_the_same_ids() -> None:
    first, again = (Message(b"x", id="m-1", attempt=attempt) for attempt in (1, 2))
    for message in (first, again):
        message.publish("a", b"1")
        message.publish("a", b"2", {"k": "v", "l": 1})
        message.publish("b", b"1")
        message.publish("a", b"1")
    assert ids(first) == ids(again)
    assert len(set(ids(first))) == 4


def test_ids_differ_with_the_parent_the_topic_the_body_and_the_headers() -> None:
    seen: set[str] = set()
    for parent in ("m-1", "m-2"):
        for topic, body in (("a", b"bc"), ("ab", b"c"), ("a", b"")):
            for headers in (None, {"k": 1}, {"k": "1"}):
                message = Message(b"", id=parent)
                message.publish(topic, body, headers)
                seen.update(ids(message))
    assert len(seen) == 18


def test_the_order_of_headers_does_not_change_an_id() -> None:
    one, two = Message(b"", id="m"), Message(b"", id="m")
    one.publish("t", b"", {"a": 1, "b": 2})
    two.publish("t", b"", {"b": 2, "a": 1})
    assert ids(one) == ids(two)


def test_twins_of_one_message_are_messages_of_their_own() -> None:
    message = Message(b"", id="m")
    for _ in range(5):
        message.publish("t", b"same")
    assert len(set(ids(message))) == 5
    assert all(uuid.UUID(child) for child in ids(message))


def test_children_of_a_message_without_id_have_ids_of_their_own() -> None:
    message = Message(b"")
    message.publish("t", b"same")
    message.publish("t", b"same")
    assert len(set(ids(message))) == 2


def test_what_the_check_refuses_is_not_published() -> None:
    def check(topic: str | None, headers: Mapping[str, Any]) -> bytes:
        if topic != "known":
            raise ValueError(f"no topic {topic}")
        return b""

    message = Message(b"", check=check)
    with pytest.raises(ValueError, match="no topic unknown"):
        message.publish("unknown", b"")
    assert not message.has_published
    message.publish("known", b"")
    assert [p.topic for p in message.publishes] == ["known"]


def test_headers_changed_after_publish_are_not_sent() -> None:
    headers, message = {"k": 1}, Message(b"", id="m")
    message.publish("t", b"", headers)
    headers["k"] = 2
    assert message.publishes[0].headers == {"k": 1}


def test_headers_passed_on_leave_the_attempts_of_the_message_they_come_from_behind() -> None:
    received = {"k": 1, "x-hermes-attempt": 3, "x-hermes-due-ms": 7, "x-death": [], "x-delivery-count": 2}
    message = Message(b"", id="m", headers=received)
    message.publish("t", b"", message.headers)
    assert message.publishes[0].headers == {"k": 1}


def test_a_body_that_is_no_json_cannot_be_published() -> None:
    message = Message(b"")
    with pytest.raises(TypeError):
        message.publish("t", {1, 2})
    assert message.publishes == ()


def test_what_a_message_prints_as_holds_no_body() -> None:
    assert repr(Message(b"secret", topic="t", id="m", attempt=3)) == "Message(topic='t', id='m', attempt=3, 6 bytes)"


def test_nothing_of_a_message_can_be_written_to() -> None:
    message = Message(b"", headers={"k": 1})
    with pytest.raises(TypeError):
        message.headers["k"] = 2  # type: ignore[index]
    for name in ("id", "headers", "attempt", "priority", "content_type", "routing_key"):
        with pytest.raises(AttributeError):
            setattr(message, name, "x")


def test_a_message_built_by_hand_has_the_properties_that_it_was_given() -> None:
    message = Message(b"", content_type="text/x", priority=3, reply_to="answers", timestamp=7, routing_key="a.b")
    assert (message.content_type, message.priority, message.reply_to, message.timestamp) == ("text/x", 3, "answers", 7)
    assert (message.exchange, message.routing_key, message.redelivered) == ("", "a.b", False)
    assert (message.content_encoding, message.type, message.correlation_id, message.app_id) == (None,) * 4
    with pytest.raises(TypeError, match="a message has no prioritty, only content_type"):
        Message(b"", prioritty=3)


PAYLOAD = {"name": "Zoë", "n": [1, 2]}
TEXT = json.dumps(PAYLOAD, ensure_ascii=False)


def packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("body", "encoding", "content_type"),
    [
        (TEXT.encode(), None, None),
        (TEXT.encode("utf-16"), None, "application/json"),
        (TEXT.encode("latin-1"), None, "application/json; charset=iso-8859-1"),
        (TEXT.encode("latin-1"), None, 'text/json;x=1; Charset="ISO-8859-1"'),
        (TEXT.encode("latin-1"), "latin-1", None),
        (TEXT.encode(), "utf-8", "application/json"),
        (TEXT.encode(), "identity", None),
        (TEXT.encode(), "7bit", None),
        (TEXT.encode("utf-8-sig"), None, "application/json; charset=utf-8"),
        (TEXT.encode("utf-8-sig"), "utf-8", None),
        (packed(TEXT.encode()), "gzip", None),
        (packed(TEXT.encode("latin-1")), "GZIP", "application/json; charset=latin-1"),
        (zlib.compress(TEXT.encode()), "deflate", None),
        (zlib.compress(TEXT.encode(), wbits=-15), "deflate", None),
        (packed(zlib.compress(TEXT.encode())), "deflate, gzip", None),
        (packed(TEXT[:9].encode()) + packed(TEXT[9:].encode()), "gzip", None),
    ],
)
def test_json_reads_the_body_as_its_properties_say(body: bytes, encoding: str | None, content_type: str | None) -> None:
    assert Message(body, content_encoding=encoding, content_type=content_type).json() == PAYLOAD


@pytest.mark.parametrize(
    ("body", "encoding", "content_type"),
    [
        (TEXT.encode(), "gzip", None),
        (packed(TEXT.encode())[:-9], "gzip", None),
        (b"", "gzip", None),
        (TEXT.encode(), "br", None),
        (TEXT.encode("latin-1"), None, "application/json; charset=utf-8"),
        (TEXT.encode(), None, "application/json; charset=nobody-knows"),
        (b"a" * 100_000, None, "application/json; charset=punycode"),
        (b'"\\u00fc"', "unicode_escape", None),
        (b"e30=", "base64", None),
        (b"e30=", None, "application/json; charset=base64"),
    ],
)
def test_a_body_that_its_properties_misname_is_a_permanent_error(
    body: bytes, encoding: str | None, content_type: str | None
) -> None:
    with pytest.raises(PermanentError, match="the body is not JSON: "):
        Message(body, content_encoding=encoding, content_type=content_type).json()


def test_a_body_that_unpacks_to_more_than_a_worker_bears_is_a_permanent_error() -> None:
    with pytest.raises(PermanentError, match="more than 268435456 bytes"):
        Message(packed(b"0" * (1 << 28) + b"1"), content_encoding="gzip").json()


def test_a_publish_says_what_the_message_is() -> None:
    message = Message(b"", id="m")
    message.publish("t", b"", priority=5, type="made", correlation_id="c", content_type="text/x")
    message.publish("t", b"")
    first, second = message.publishes
    assert first.fields == {"priority": 5, "type": "made", "correlation_id": "c", "content_type": "text/x"}
    assert (second.fields, first.id != second.id) == ({}, True)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"priority": 256}, "priority is 256: it must be a whole number from 0 to 255"),
        ({"priority": True}, "priority is True"),
        ({"priority": "3"}, "priority is '3'"),
        ({"type": "x" * 256}, "type is 'xxx"),
        ({"content_type": 7}, "content_type is '7': it must be text of at most 255 bytes"),
        ({"correlation_id": "\ud800"}, "surrogates not allowed"),
    ],
)
def test_a_property_that_amqp_cannot_carry_is_refused_and_nothing_is_published(fields: Any, said: str) -> None:
    message = Message(b"", id="m")
    with pytest.raises(ValueError, match=said):
        message.publish("t", b"", **fields)
    assert not message.has_published


def test_headers_that_a_broker_would_act_on_are_not_passed_on() -> None:
    headers = {"CC": ["t"], "BCC": ["t"], "x-death": [], "x-delivery-count": 3, "x-hermes-attempt": 2, "mine": 1}
    message = Message(b"", headers=headers)
    message.publish("t", b"", message.headers)
    assert message.publishes[0].headers == {"mine": 1}


def test_a_reply_goes_where_it_is_waited_for() -> None:
    message = Message(b"", id="m", reply_to="answers", correlation_id="c-7")
    message.reply({"ok": True}, type="answer")
    (reply,) = message.publishes
    assert (reply.topic, reply.reply_to, reply.body) == (None, "answers", b'{"ok": true}')
    assert reply.fields == {"correlation_id": "c-7", "type": "answer"}
    with pytest.raises(ValueError, match="nobody waits for a reply"):
        Message(b"").reply(b"")


def test_a_correlation_id_that_is_no_text_goes_back_as_it_came() -> None:
    message = Message(b"", id="m", reply_to="answers", correlation_id=b"\xff\xfe")
    message.reply(b"")
    assert message.publishes[0].fields == {"correlation_id": b"\xff\xfe"}


def test_a_redelivery_publishes_the_same_ids_whatever_kind_of_bytes_its_headers_are() -> None:
    ids = set()
    for kind in (bytes, bytearray, memoryview):
        message = Message(b"", id="m", check=lambda _topic, headers: encode_headers(headers))
        message.publish("t", b"", {"h": kind(b"\1\2")})
        ids.add(message.publishes[0].id)
    assert len(ids) == 1


def test_what_is_published_after_the_handler_has_returned_raises() -> None:
    message = Message(b"", reply_to="answers")
    message.publish("t", b"1")
    message.seal()
    with pytest.raises(ValueError, match="the handler has returned"):
        message.publish("t", b"2")
    with pytest.raises(ValueError, match="the handler has returned"):
        message.reply(b"2")
    assert len(message.publishes) == 1
