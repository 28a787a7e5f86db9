"""What an apply changes and how, and what makes a worker another one: every key of the schema is tried."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hermes_ray.config.keys import valid_keys
from hermes_ray.config.knobs import rolling_values
from hermes_ray.config.loading import load
from hermes_ray.config.settings import knob
from hermes_ray.deploy.changes import Change, applied, compare
from hermes_ray.scaler.plan import Plan, revision
from tests.support.fleet_scene import config

ROLLING = {f"topics.NAME.{name}" for name in ("handler", "options")}
ROLLING |= {f"broker.{name}" for name in ("url", "decoder", "ack_timeout_s")}
ROLLING |= {f"broker.tls.{name}" for name in ("ca", "cert", "key", "password", "verify")}
TOPOLOGY = {f"topics.NAME.{name}" for name in ("queue", "queue_type", "queue_arguments", "bindings", "topology")}
ROLLING |= {f"topics.NAME.worker.{name}" for name in ("concurrency", "prefetch", "prefetch_bytes")}
ROLLING |= {f"topics.NAME.worker.{name}" for name in ("num_cpus", "memory", "resources", "timeout_s")}
ANOTHER = {"deployment.name": "another"}
OTHER_VALUES = {
    "deployment.name": "shop",
    "broker.url": "amqp://elsewhere/",
    "broker.tls.ca": "/ca.pem",
    "broker.tls.cert": "/other.pem",
    "broker.tls.key": "/key.pem",
    "broker.tls.password": "${oc.env:PATH}",
    "broker.tls.verify": "false",
    "state_dir": "/somewhere",
    "metrics.host": "0.0.0.0",
    "topics.NAME.handler": "m:g",
    "topics.NAME.options": "{a: 1}",
    "topics.NAME.queue": "q",
    "topics.NAME.queue_arguments": "{x-max-length: 5}",
    "topics.NAME.bindings": "[{exchange: games, routing_key: pgcr}]",
    "topics.NAME.worker.resources": "{licence: 1}",
}


def plan(*words: str, **changed: Any) -> Plan:
    made = config(*words)
    return dataclasses.replace(Plan(config=made, concurrency=dict.fromkeys(made.topics, 4)), **changed)


def running(before: Plan, stopped: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a scaler of this plan says, once it went over the wire."""
    said: dict[str, Any] = json.loads(json.dumps({**applied(before), "stopped": list(stopped), "stopping": False}))
    return said


def said(before: Plan, after: Plan, stopped: tuple[str, ...] = ()) -> list[str]:
    return [str(change) for change in compare(running(before, stopped), after)]


def other_value(key: str, hint: Any, entry: dataclasses.Field[Any]) -> str:
    """A value that ``key`` may have and does not have by default."""
    if key in OTHER_VALUES:
        return OTHER_VALUES[key]
    declared = knob(entry)
    if declared.schema.get("enum"):
        return next(choice for choice in declared.allowed.split(" or ") if choice != entry.default)
    now: Any = entry.default or 0
    return str(next(v for v in (now + 1, now / 2) if declared.accepts is None or declared.accepts(v)))


def made_of(plan: Plan, topic: str) -> list[tuple[str, Any]]:
    """What a worker of ``topic`` is built from, as far as the configuration says it."""
    return [*rolling_values(plan.config.broker), *rolling_values(plan.config.topics[topic])]


LEAVES = [
    (key, other_value(key, hint, entry))
    for key, hint, entry in valid_keys()
    if not dataclasses.is_dataclass(hint) and key != "topics"
]


@pytest.mark.parametrize(("key", "value"), LEAVES)
def test_every_key_is_told_with_how_it_takes_effect_and_only_what_a_worker_is_made_of_replaces_it(
    key: str, value: str
) -> None:
    base = ("broker.url=amqps://h", "broker.tls.cert=/cert.pem") if key.startswith("broker.tls.") else ()
    before, after = plan(*base), plan(*base, f"{key.replace('NAME', 'heavy')}={value}")
    replaces = key in ROLLING | TOPOLOGY
    assert (made_of(before, "heavy") != made_of(after, "heavy")) == replaces
    assert (made_of(before, "light") != made_of(after, "light")) == key.startswith("broker.")
    assert (revision(before, "heavy") != revision(after, "heavy")) == replaces
    how = ANOTHER.get(key, "topology" if key in TOPOLOGY else "rolling" if replaces else "live")
    (change,) = compare(running(before), after)
    assert change.how == how
    assert change.what.startswith(key.replace("NAME", "heavy"))
    assert said(after, after) == []


def test_the_worker_part_and_the_queue_part_of_the_schema_are_where_we_think_they_are() -> None:
    keys = {key for key, _ in LEAVES}
    assert keys >= TOPOLOGY | ROLLING
    assert sum(key.startswith("topics.NAME.worker.") for key in keys) >= 6
    assert len(keys) > 35


@pytest.mark.parametrize("changed", [{"code": "abc"}, {"rolled": 5}])
def test_other_code_and_a_forced_roll_out_make_other_workers_of_every_topic(changed: dict[str, Any]) -> None:
    before, after = plan(), plan(**changed)
    assert all(revision(before, topic) != revision(after, topic) for topic in ("light", "heavy"))
    assert said(before, after) == ["the code (rolling)" if "code" in changed else "roll=true (rolling)"]


@pytest.mark.parametrize(
    "changed",
    [
        {"generation": 9},
        {"former_rungs_ms": {"light": (7,)}},
    ],
)
def test_a_later_apply_makes_no_other_workers(changed: dict[str, Any]) -> None:
    assert revision(plan(), "light") == revision(plan(**changed), "light")
    assert said(plan(), plan(**changed)) == []


def test_the_same_code_in_another_place_is_where_the_next_workers_come_from() -> None:
    assert revision(plan(), "light") == revision(plan(import_paths=("/elsewhere",)), "light")
    assert said(plan(), plan(import_paths=("/elsewhere",))) == ["the same code is now in /elsewhere (live)"]
    assert said(plan(), plan(import_paths=("/elsewhere",), code="abc")) == ["the code (rolling)"]


def test_values_are_shown_from_what_to_what() -> None:
    words = ("topics.heavy.workers.max=40", "topics.light.worker.num_cpus=1", "topics.light.queue=q")
    assert said(plan(), plan(*words)) == [
        "topics.heavy.workers.max: 10 -> 40 (live)",
        "topics.light.queue: light -> q (topology)",
        "topics.light.worker.num_cpus: 0.25 -> 1.0 (rolling)",
    ]


def test_the_same_values_written_otherwise_are_no_change(tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_text(
        "topics:\n"
        "  heavy: {weight: 10, handler: 'm:f', queue: heavy, options: {b: {2: x, y: 1}, a: 1}}\n"
        "  light: {handler: 'm:f', workers: {max: 10}}\n"
    )
    options = "topics.heavy.options={a: 1, b: {y: 1, 2: x}}"
    assert said(plan(options), Plan(config=load(file), concurrency={"heavy": 4, "light": 4})) == []


def test_topics_that_start_drain_or_start_again_are_told_without_their_keys() -> None:
    three = plan("topics.new.handler=m:f", "topics.new.weight=3")
    assert said(plan(), three) == ["topic new starts"]
    assert said(three, plan()) == ["topic new drains and is left out; its queue stays"]
    assert said(three, three, stopped=("new",)) == ["topic new starts again"]
    assert said(three, plan(), stopped=("new",)) == ["topic new drains and is left out; its queue stays"]


def test_a_topic_whose_name_begins_like_anothers_is_not_mistaken_for_it() -> None:
    """Names may hold dots: ``heavy.fr`` is no key of ``heavy``."""
    dotted = ("topics[heavy.fr].handler=m:f", "topics[heavy.fr].queue=q")
    assert said(plan(), plan(*dotted)) == ["topic heavy.fr starts"]
    assert said(plan(*dotted), plan()) == ["topic heavy.fr drains and is left out; its queue stays"]
    assert said(plan(*dotted), plan(*dotted, "topics[heavy.fr].queue=r", "topics[heavy.fr].worker.prefetch=3")) == [
        "topics[heavy.fr].queue: q -> r (topology)",
        "topics[heavy.fr].worker.prefetch: None -> 3 (rolling)",
    ]


def test_secrets_are_compared_but_never_told(tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"

    def with_password(word: str, *also: str) -> Plan:
        file.write_text(
            f"broker: {{url: 'amqp://me:{word}@h/'}}\n"
            f"topics: {{light: {{handler: 'm:f', options: {{password: {word}, host: db-1}}}}}}\n"
        )
        return Plan(config=load(file, also), concurrency={"light": 4})

    before, after = with_password("old-pw"), with_password("new-pw", "topics.light.options.user=db-me")
    assert said(before, after) == [
        "broker.url: changed (rolling)",
        "topics.light.options.password: changed (rolling)",
        "topics.light.options.user: changed (rolling)",
    ]
    for text in (str(running(before)), str(running(after)), str(said(before, after))):
        assert not [secret for secret in ("old-pw", "new-pw", "db-1", "db-me") if secret in text]


def test_each_of_several_nodes_of_the_broker_matters_and_so_does_each_nested_option() -> None:
    nodes = plan('broker.url=["amqp://a/","amqp://b/"]')
    assert said(nodes, plan('broker.url=["amqp://a/","amqp://c/"]')) == ["broker.url: changed (rolling)"]
    nested = plan("topics.light.options={tables: {1: [a, b], x: c}}")
    other = plan("topics.light.options={tables: {1: [a, d], x: c}}")
    assert said(nested, other) == ["topics.light.options.tables.1: changed (rolling)"]
    assert revision(nested, "light") != revision(other, "light")


def test_options_whose_names_are_shown_alike_are_compared_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"

    def with_weights(first: int, second: int) -> Plan:
        urls = f"{{'amqp://me:old-pw@h': {first}, 'amqp://me:new-pw@h': {second}}}"
        file.write_text(f"topics: {{light: {{handler: 'm:f', options: {{urls: {urls}}}}}}}")
        return Plan(config=load(file), concurrency={"light": 4})

    (change,) = said(with_weights(1, 2), with_weights(3, 2))
    assert change.endswith(": changed (rolling)")
    assert "pw" not in change


def test_many_topics_are_compared_each_with_its_own() -> None:
    topics = [f"t{number}" if number % 2 else f"t.{number}" for number in range(600)]
    before = config("topics.t1.handler=m:f")
    one = before.topics["t1"]
    many = dataclasses.replace(before, topics={name: dataclasses.replace(one, queue=name) for name in topics})
    heavier = {name: dataclasses.replace(topic, weight=2.0) for name, topic in many.topics.items()}
    after = Plan(config=dataclasses.replace(many, topics=heavier), concurrency=dict.fromkeys(topics, 4))
    changes = said(Plan(config=many, concurrency=after.concurrency), after)
    assert len(changes) == len(topics)
    assert "topics[t.0].weight: 1.0 -> 2.0 (live)" in changes


def test_a_change_without_a_way_is_told_by_itself() -> None:
    assert str(Change(what="topic a starts", how="")) == "topic a starts"


def test_delays_of_retries_under_way_are_passed_on_from_plan_to_plan() -> None:
    first = running(plan("topics.light.retry.max_attempts=2"))
    assert first["rungs_ms"]["light"] == [1000, 1414]
    former = {topic: tuple(rungs) for topic, rungs in first["rungs_ms"].items()}
    then = running(
        plan("topics.light.retry.max_attempts=2", "topics.light.retry.base_delay_s=3", former_rungs_ms=former)
    )
    assert {1000, 1414, 3000} <= set(then["rungs_ms"]["light"])


def test_arguments_and_bindings_are_told_one_by_one() -> None:
    bound = "[{exchange: games, routing_key: 'pgcr.#', exchange_type: topic}, {exchange: all}]"
    before, after = plan(), plan("topics.heavy.queue_arguments={x-max-length: 5, a.b: true}")
    assert said(before, after) == [
        "topics.heavy.queue_arguments.x-max-length: unset -> 5 (topology)",
        "topics.heavy.queue_arguments[a.b]: unset -> True (topology)",
    ]
    assert said(plan("topics.heavy.bindings=[{exchange: old}]"), plan(f"topics.heavy.bindings={bound}")) == [
        "topics.heavy.bindings[0]: old '' -> games (topic) 'pgcr.#' (topology)",
        "topics.heavy.bindings[1]: unset -> all '' (topology)",
    ]
    assert said(plan(f"topics.heavy.bindings={bound}"), before) == [
        "topics.heavy.bindings[0]: games (topic) 'pgcr.#' -> unset (topology)",
        "topics.heavy.bindings[1]: all '' -> unset (topology)",
    ]


def test_a_queue_that_serves_otherwise_than_before_is_a_change_of_its_own() -> None:
    single = plan(single_active=frozenset({"heavy"}))
    assert said(plan(), single) == ["the queue of topic heavy serves one consumer at a time (live)"]
    assert said(single, plan()) == ["the queue of topic heavy serves all consumers (live)"]
    assert said(single, single) == []
