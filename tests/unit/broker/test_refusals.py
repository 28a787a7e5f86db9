"""Which queue the broker speaks of when it refuses something."""

from __future__ import annotations

import base64

import pytest

from hermes_ray.broker.refusals import is_about, may_break

LONG = "q" * 200 + ".wait.1000"
SAID = "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '{}' in vhost '/': received none"


@pytest.mark.parametrize(
    ("reason", "queue", "expected"),
    [
        (SAID.format("q.wait.100"), "q.wait.100", True),
        (SAID.format("q.wait.100"), "q.wait.1000", False),
        (SAID.format("q.wait.1000"), "q.wait.100", False),
        (SAID.format("it's"), "it's", True),
        (SAID.format(LONG)[:252] + "...", LONG, True),
        (SAID.format(LONG)[:252] + "...", "other", False),
        ("541 INTERNAL_ERROR - Cannot declare a queue 'queue 'q' in vhost '/'' on node 'n@h': timeout", "q", True),
        ("404 NOT_FOUND - no exchange 'q' in vhost '/'", "q", False),
        ("", "q", False),
    ],
)
def test_a_refusal_is_about_the_queue_it_names_as_far_as_its_text_goes(reason: str, queue: str, expected: bool) -> None:
    assert is_about(reason, queue) is expected


PID = b"\x83gw\x10hermes@localhost" + bytes(9)
NEW_PID = b"\x83Xd\0\x10hermes@localhost" + bytes(12)


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ("q", False),
        ("amq.rabbitmq.reply-to", False),
        (f"amq.rabbitmq.reply-to.{base64.b64encode(PID).decode()}.key==", False),
        (f"amq.rabbitmq.reply-to.{base64.b64encode(NEW_PID).decode()}.key==", False),
        ("amq.rabbitmq.reply-to.g2gCZAANcmFiYml0QGxvY2FsAAA=.x", True),
        (f"amq.rabbitmq.reply-to.{base64.b64encode(PID[:-1]).decode()}.key==", True),
        ("amq.rabbitmq.reply-to.", True),
        ("amq.rabbitmq.reply-to.\u00fc.x", True),
    ],
)
def test_a_reply_to_a_connection_is_sent_with_others_if_its_name_is_of_one(queue: str, expected: bool) -> None:
    assert may_break(queue) is expected
