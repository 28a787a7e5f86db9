"""The JSON Schema of the file: what loads is valid, typical mistakes are not, and every knob is described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from hermes_ray.cli.main import cli
from hermes_ray.config.schema import json_schema, schema_rows
from tests.support.canaries import ACCEPTED
from tests.unit.config.test_mistakes import IN_FILE

SHIPPED = sorted((Path(__file__).parents[3] / "conf").glob("*.yaml"))
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def topic(body: str) -> Any:
    return yaml.safe_load(f"topics: {{a: {{handler: m:f, {body}}}}}")


def test_the_schema_is_one_of_draft_2020_12_and_printed_as_it_is() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    done = CliRunner().invoke(cli, ["config", "--json-schema"])
    assert (done.exit_code, json.loads(done.output)) == (0, SCHEMA)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_file_is_valid(path: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(path.read_text()))] == []


@pytest.mark.parametrize(
    "body",
    [
        "weight: 2.5, worker: {memory: 4GiB, concurrency: null, resources: {licence: 0.5}}",
        "worker: {memory: 500, num_cpus: 0}, queue: null, options: {a: [1, {b: x}]}",
        "queue_arguments: {x-max-length: 5, x-mine: y, x-overflow: '${oc.env:O}'}, bindings: [{exchange: b}]",
        "bindings: ['${topics.b.bindings}', {exchange: b, routing_key: x.#, exchange_type: topic, arguments: {a: 1}}]",
        "weight: '${oc.env:W,5}', workers: '${topics.b.workers}', worker: {resources: {x: '${oc.env:X}'}}",
    ],
)
def test_what_loads_is_valid(body: str) -> None:
    assert VALIDATOR.is_valid(topic(body))


@pytest.mark.parametrize(
    "tree",
    [
        {"broker": {"url": "amqps://h"}},
        {"broker": {"url": ["amqp://a", "${oc.env:B}"]}},
        {"broker": {"url": "${oc.env:B}"}},
        {"topics": {"a.b-c_1": {"handler": "m.n:f"}, "b": "${topics.a}"}},
        {},
    ],
)
def test_a_whole_file_that_loads_is_valid(tree: Any) -> None:
    assert VALIDATOR.is_valid(tree)


@pytest.mark.parametrize(
    "tree",
    [
        {"toppics": {}},
        {"cluster": {"name": "a"}},
        {"topics": {"a b": {"handler": "m:f"}}},
        {"topics": {"a": {}}},
        {"topics": {"a": None}},
        {"topics": []},
        {"broker": {"url": "http://h"}},
        {"broker": {"url": []}},
        {"broker": {"url": None}},
        {"metrics": {"port": 65536}},
        {"metrics": {"port": "9464"}},
        {"deployment": {"name": "a/b"}},
        {"deployment": {"name": "a" * 201}},
        {"forget_after_s": -1},
        *map(
            topic,
            [
                "wokers: {max: 4}",
                "workers: {maxx: 4}",
                "workers: {max: -1}",
                "workers: {max: 2.5}",
                "workers: {max: true}",
                "workers: {roll_surge: 0}",
                "workers: null",
                "weight: 0",
                "weight: heavy",
                "latency_objective_ratio: 1",
                "queue_type: stream",
                "queue_arguments: {x-max-length: -1}",
                "queue_arguments: {x-delivery-limit: 20}",
                "queue_arguments: {x-stream-offset: first}",
                "bindings: [{routing_key: b}]",
                "queue: amq.a",
                "queue: ''",
                "scaling: {policy: fixd}",
                "worker: {num_cpus: 0.00001}",
                "worker: {memory: 4G}",
                "worker: {memory: 0}",
                "worker: {resources: {CPU: 1}}",
                "worker: {resources: {x: -1}}",
                "options: {a b: 1}",
                "options: 3",
                "retry: {max_attempts: 0}",
            ],
        ),
        {"topics": {"a": {"handler": "m.f"}}},
        {"topics": {"a": {"handler": 7}}},
    ],
)
def test_a_typical_mistake_is_not_valid(tree: Any) -> None:
    assert not VALIDATOR.is_valid(tree)


def test_most_mistakes_that_are_told_are_seen_in_an_editor_too() -> None:
    """Not those between two keys, in the parts of a URL, or in what ``${...}`` leads to."""
    readable = []
    for text, _ in IN_FILE:
        try:
            readable.append(json.loads(json.dumps(yaml.safe_load(text))))  # an editor's keys are text
        except (yaml.YAMLError, ValueError, TypeError):
            continue
    seen = [tree for tree in readable if not VALIDATOR.is_valid(tree)]
    assert len(seen) > 0.7 * len(readable)


@pytest.mark.parametrize("url", [canary.text for canary in ACCEPTED if canary.text.startswith("broker")])
def test_every_url_that_is_accepted_is_valid(url: str) -> None:
    assert VALIDATOR.is_valid(yaml.safe_load(url))


def test_the_table_of_keys_says_what_a_change_of_each_takes() -> None:
    done = CliRunner().invoke(cli, ["config", "--schema"])
    header, _, *lines = [line.split() for line in done.output.splitlines() if line.strip()]
    assert header == ["key", "type", "default", "unit", "allowed", "takes", "meaning"]
    rows = {words[0]: words for words in lines}
    for row in schema_rows():
        assert row.takes in rows[row.key], row


def test_every_knob_has_a_description_with_its_range_and_what_a_change_takes() -> None:
    for row in schema_rows():
        part: Any = SCHEMA
        for name in row.key.split(".") if row.key != "topics" else []:
            if name == "NAME":
                part = SCHEMA["$defs"]["topic"]
            elif name != "topics":
                sections = [part, *part.get("anyOf", [])]
                part = next(section["properties"][name] for section in sections if "properties" in section)
        if row.key != "topics":
            assert part["description"].startswith(row.meaning), row
            assert row.allowed in part["description"], row
            assert part["description"].endswith(f"A change is {row.takes}."), row
            assert {"$ref": "#/$defs/reference"} in part["anyOf"], row
            assert ("default" in part) == (row.default != "required"), row
