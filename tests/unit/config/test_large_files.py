"""Files of many topics load however they are written."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hermes_ray.config.loading import load, masked_yaml

COUNT = 600
FULL: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "conf" / "hermes.yaml").read_text())
TOPIC = {key: value for key, value in FULL["topics"]["player_crawl"].items() if key != "queue"}


def every_topic(body: Callable[[int], str]) -> str:
    return "topics:\n" + "".join(f"  t{number}: {body(number)}\n" for number in range(COUNT))


def in_flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**9).strip()


def with_merge_keys(number: int) -> str:
    return "{<<: *first, weight: 2}" if number else f"&first {in_flow(TOPIC)}"


def with_references(number: int) -> str:
    retry = "'${topics.t0.retry}'" if number else "{max_attempts: 7}"
    return f"{{handler: m:f, workers: {{min: '${{.max}}'}}, retry: {retry}}}"


def in_a_chain(number: int) -> str:
    weight = "3" if number == COUNT - 1 else f"'${{topics.t{number + 1}.weight}}'"
    return f"{{handler: m:f, weight: {weight}}}"


VARIABLES = "{handler: m:f, weight: '${oc.env:NOT_SET,5}', options: {x: 'a-${oc.env:PATH}'}}"
WRITINGS = {
    "short": every_topic(lambda _number: "{handler: m:f}"),
    "every key": every_topic(lambda _number: "\n" + textwrap.indent(yaml.safe_dump(TOPIC), "    ")),
    "in one line": "topics: {" + ", ".join(f"t{number}: {in_flow(TOPIC)}" for number in range(COUNT)) + "}",
    "merge keys": every_topic(with_merge_keys),
    "aliases": every_topic(lambda number: "*first" if number else f"&first {in_flow(TOPIC)}"),
    "environment": every_topic(lambda _number: VARIABLES),
    "references": every_topic(with_references),
    "a chain": every_topic(in_a_chain),
}


@pytest.mark.parametrize("writing", WRITINGS)
def test_a_file_of_many_topics_loads_and_what_is_shown_of_it_loads_again(writing: str, tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_text(WRITINGS[writing])
    config = load(file, ["topics.t5.workers.max=40"])
    assert len(config.topics) == COUNT
    assert (config.topics["t5"].workers.max, config.topics["t5"].queue) == (40, "t5")
    shown = tmp_path / "shown.yaml"
    shown.write_text(masked_yaml(file).replace("guest:***", "guest:guest"))
    assert len(load(shown).topics) == COUNT
