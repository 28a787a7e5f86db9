from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from hermes_ray import Message, PermanentError


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
    for body in (b"\x00raw", "größe", {"a": [1, None]}, None, 7):
        message.publish("t", body)
    assert [p.body for p in message.publishes] == [b"\x00raw", "größe".encode(), b'{"a": [1, null]}', b"null", b"7"]


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
    def check(topic: str, headers: Mapping[str, Any]) -> None:
        if topic != "known":
            raise ValueError(f"no topic {topic}")

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
