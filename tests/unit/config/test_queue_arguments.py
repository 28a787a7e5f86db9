"""Arguments and bindings that a topic may give its queue."""

from __future__ import annotations

import pytest

from hermes_ray.config.bindings import BindingConfig
from hermes_ray.config.loading import load
from hermes_ray.config.queue_arguments import KNOWN, never, unfit, unknown
from hermes_ray.config.settings import TopicConfig
from hermes_ray.errors import UserMistake


def topic(*words: str) -> TopicConfig:
    return load(None, ["topics.a.handler=m:f", *(f"topics.a.{word}" for word in words)]).topics["a"]


def test_numbers_and_switches_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENGTH", "100")
    monkeypatch.setenv("SINGLE", "true")
    monkeypatch.setenv("MINE", "007")
    chosen = topic(
        "queue_arguments.x-max-length='${oc.env:LENGTH}'",
        "queue_arguments.x-single-active-consumer='${oc.env:SINGLE}'",
        "queue_arguments.x-mine='${oc.env:MINE}'",
    )
    assert chosen.queue_arguments == {"x-max-length": 100, "x-single-active-consumer": True, "x-mine": "007"}


def test_a_binding_is_an_exchange_and_what_is_said_beside_it() -> None:
    chosen = topic("bindings=[{exchange: games, routing_key: 'pgcr.#'}, {exchange: all, exchange_type: fanout}]")
    assert chosen.bindings == [
        BindingConfig(exchange="games", routing_key="pgcr.#"),
        BindingConfig(exchange="all", exchange_type="fanout"),
    ]
    assert [str(binding) for binding in chosen.bindings] == ["games 'pgcr.#'", "all (fanout) ''"]


def test_names_that_nobody_knows_are_said_with_the_one_that_was_meant_and_passed_on() -> None:
    assert unknown({"x-max-lenght": 5, "x-mine": 1, "x-max-length": 5}) == {
        "x-max-lenght": "is no argument known here, did you mean x-max-length?: it is passed on",
        "x-mine": "is no argument known here: it is passed on",
    }
    assert topic("queue_arguments={x-mine: 1}").queue_arguments == {"x-mine": 1}


@pytest.mark.parametrize("name", ["x-stream-filter-size-bytes", "x-stream-offset", "x-stream-max-segment-size-byte"])
def test_what_only_streams_have_is_refused_by_whatever_name_and_not_said_to_be_unknown(name: str) -> None:
    assert never(name) == "only streams have it, which cannot be consumed here: leave it out"
    assert unknown({name: 1}) == {}
    with pytest.raises(UserMistake, match=f"queue_arguments.{name} is 1: only streams have it"):
        topic(f"queue_arguments={{{name}: 1}}")


def test_what_is_known_can_be_had_with_one_type_of_queue_at_least() -> None:
    assert all(set(known.types) <= {"quorum", "classic"} and known.types for known in KNOWN.values())
    assert not any(never(name) for name in KNOWN)


@pytest.mark.parametrize(
    ("arguments", "queue_type"),
    [
        ({"x-max-priority": 5}, "classic"),
        ({"x-overflow": "reject-publish", "x-max-length": 5}, "quorum"),
        ({"x-overflow": "drop-head"}, "classic"),
        ({"x-dead-letter-exchange": "lost"}, "classic"),
        ({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "other"}, "quorum"),
        (
            {"x-dead-letter-exchange": "b", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"},
            "quorum",
        ),
    ],
)
def test_what_works_is_not_refused(arguments: dict[str, str | int], queue_type: str) -> None:
    assert unfit(arguments, queue_type, "a") is None
