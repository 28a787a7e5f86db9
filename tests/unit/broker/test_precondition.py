"""What a 406 to a declare means; the broker cuts what it says at 255 bytes."""

from __future__ import annotations

import re

import pytest

from hermes_ray.broker.inequivalence import Inequivalence, inequivalence
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import refusal
from hermes_ray.errors import OperationFailed, UserMistake

FORMS = ["'classic'", "'stream'", "none", "the value '5' of type 'signedint'", "the value 'quorum' of type 'longstr'"]


ASKED = "hermes_ray asks"


def said(argument: str, name: str, found: str, wanted: str = f"'{ASKED}'") -> str:
    """As the broker says it, cut as it cuts."""
    whole = (
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{name}' in vhost '/': received "
        f"{wanted} but current is {found}"
    )
    return whole if len(whole) <= 255 else f"{whole[:252]}..."


def refused(name: str, text: str) -> OperationFailed | UserMistake:
    return refusal(TopicTopology(topic="t", queue=name), name, 406, text)


@pytest.mark.parametrize("found", FORMS)
def test_what_is_found_is_told_whole_or_not_at_all(found: str) -> None:
    known = {(differs.found_as_told, differs.argument) for n in range(1, 256) if (differs := at(n, found))}
    assert known == {(found, "x-queue-type"), (None, "x-queue-type")}


def at(length: int, found: str) -> Inequivalence | None:
    return differing("x" * length, found)


def differing(name: str, found: str, argument: str = "x-queue-type") -> Inequivalence | None:
    return inequivalence(said(argument, name, found), queue=name, sent={argument: ASKED})


@pytest.mark.parametrize(("argument", "found"), [("durable", "false"), ("auto_delete", "true")])
def test_what_can_be_but_one_of_two_is_told_however_long_the_name(argument: str, found: str) -> None:
    for length in (1, 150, 255):
        differs = differing("x" * length, f"'{found}'", argument)
        assert differs is not None
        assert differs.found == found


@pytest.mark.parametrize(
    "name",
    [
        "q: received 'a' but current is 'b'",
        "it's",
        "' in vhost '/': received",
        "inequivalent arg 'x-max-length'",
        "q' in vhost '/': received 'hermes_ray asks' but current is 'quorum",
    ],
)
def test_the_name_of_a_queue_is_not_taken_for_what_is_said_of_it(name: str) -> None:
    assert differing(name, "'classic'") == Inequivalence("x-queue-type", ASKED, "classic", "'classic'")


@pytest.mark.parametrize(
    "value",
    [
        "none",
        "'none' but current is 'x'",
        "none' but current is 'x",
        "' in vhost 'v': received 'a' but current is 'b",
        "5' of type 'x",
        "the value '5' of type 'long'",
        "",
    ],
)
def test_a_value_is_not_taken_for_the_brokers_words(value: str) -> None:
    argument, typed = "x-dead-letter-exchange", f"the value '{value}' of type 'longstr'"

    def read(wanted: str, found: str, **sent: str) -> Inequivalence | None:
        return inequivalence(said(argument, "q", found, wanted), queue="q", sent={"x-queue-type": "quorum", **sent})

    sent = {argument: value}
    assert read(f"'{value}'", "'b'", **sent) == Inequivalence(argument, value, "b", "'b'")
    assert read(typed, "none", **sent) == Inequivalence(argument, value, "none", "none")
    assert read("none", typed) == Inequivalence(argument, "none", value, typed)
    assert read("'a'", f"'{value}'", **{argument: "a"}) == Inequivalence(argument, "a", value, f"'{value}'")


@pytest.mark.parametrize(("sent", "told"), [(5, "5"), (True, "true")])
def test_numbers_and_switches_are_read_as_they_are_repeated(sent: int, told: str) -> None:
    text = said("x", "q", "none", f"the value '{told}' of type 'some'")
    assert inequivalence(text, queue="q", sent={"x": sent}) == Inequivalence("x", told, "none", "none")


def test_an_argument_that_is_the_text_none_is_not_told_to_be_left_out() -> None:
    topology = TopicTopology(topic="t", queue="q", arguments={"x-dead-letter-exchange": "lost"})
    for found, first in (("'none'", "set topics.t.queue_arguments.x-dead-letter-exchange=none, "), ("none", "leave ")):
        wanted = "'lost'" if found == "'none'" else "the value 'lost' of type 'longstr'"
        error = refusal(topology, "q", 406, said("x-dead-letter-exchange", "q", found, wanted))
        assert f"exists with x-dead-letter-exchange none, not lost: {first}" in str(error)


def test_where_an_arguments_name_leaves_no_room_it_is_told_alone() -> None:
    for name in ("x" * 200, "it's" * 50):
        assert inequivalence(said(name, "q", "none"), queue="q", sent={}) == Inequivalence(name)


def test_no_word_is_made_of_what_is_left_of_a_value() -> None:
    cut = said("x-dead-letter-exchange", "q", "'" + "it's" * 60 + "'")
    at_a_quote = cut.removesuffix("...").rpartition("'")[0] + "'..."
    read = inequivalence(at_a_quote, queue="q", sent={"x-dead-letter-exchange": ASKED})
    assert read == Inequivalence("x-dead-letter-exchange")


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
