"""What a 406 to a declare means; the broker cuts what it says at 255 bytes."""

from __future__ import annotations

import re

import pytest

from hermes_ray.broker.inequivalence import Inequivalence, inequivalence
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import refusal
from hermes_ray.errors import OperationFailed, UserMistake

FORMS = ["'classic'", "'stream'", "none", "the value '5' of type 'signedint'", "the value 'quorum' of type 'longstr'"]


def said(argument: str, name: str, found: str) -> str:
    """As the broker says it, cut as it cuts."""
    whole = (
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{name}' in vhost '/': received "
        f"'hermes_ray asks' but current is {found}"
    )
    return whole if len(whole) <= 255 else f"{whole[:252]}..."


def refused(name: str, text: str) -> OperationFailed | UserMistake:
    return refusal(TopicTopology(topic="t", queue=name), name, 406, text)


@pytest.mark.parametrize("found", FORMS)
def test_what_is_found_is_told_whole_or_not_at_all(found: str) -> None:
    known = {(differs.found_as_told, differs.argument) for n in range(1, 256) if (differs := at(n, found))}
    assert known == {(found, "x-queue-type"), (None, "x-queue-type")}


def at(length: int, found: str) -> Inequivalence | None:
    return inequivalence(said("x-queue-type", "x" * length, found))


@pytest.mark.parametrize(("argument", "found"), [("durable", "false"), ("auto_delete", "true")])
def test_what_can_be_but_one_of_two_is_told_however_long_the_name(argument: str, found: str) -> None:
    for length in (1, 150, 255):
        differs = inequivalence(said(argument, "x" * length, f"'{found}'"))
        assert differs is not None
        assert differs.found == found


@pytest.mark.parametrize("name", ["q: received 'a' but current is 'b'", "it's", "' in vhost '/': received"])
def test_the_name_of_a_queue_is_not_taken_for_what_is_said_of_it(name: str) -> None:
    differs = inequivalence(said("x-queue-type", name, "'classic'"))
    assert differs is not None
    assert differs.found == "classic"


def test_where_the_form_is_not_told_nothing_is_to_be_deleted() -> None:
    for name in ("x" * 130, "x" * 255):
        error = refused(name, said("x-queue-type", name, "'classic'"))
        assert isinstance(error, UserMistake)
        assert "exists with another x-queue-type than wanted, and the broker's answer has no room" in str(error)
        assert "delete" not in str(error)


def test_what_is_no_difference_of_form_is_told_in_the_brokers_words() -> None:
    text = "PRECONDITION_FAILED - cannot declare queue 'q' in vhost 'v': queue limit in vhost 'v' (5) is reached"
    error = refused("q", text)
    assert isinstance(error, OperationFailed)
    assert str(error) == f"the broker does not declare the queue 'q' of topic 't': {text}"


def test_an_answer_cut_within_a_character_is_told_as_text() -> None:
    text = f"PRECONDITION_FAILED - limit of queue 'it's {'é' * 255}".encode()[:252] + b"..."
    assert re.search(r": PRECONDITION_FAILED - limit of queue 'it's é+\.\.\.$", str(refused("q", str(text))))


def test_an_exchange_without_permission_is_named() -> None:
    text = "ACCESS_REFUSED - write access to exchange 'lost' in vhost 'v' refused for user 'few'"
    error = refusal(TopicTopology(topic="t", queue="q"), "q", 403, text)
    assert str(error).startswith("the broker refuses the queue 'q' of topic 't' for its exchange 'lost': grant")
