"""What README and docs/ show is true: commands parse, files load, handlers run, links lead somewhere."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

import click
import pytest

from hermes_ray import Message, PermanentError
from hermes_ray.cli.group import Command
from hermes_ray.cli.load import LOAD_WORDS
from hermes_ray.cli.main import cli
from hermes_ray.cli.reach import bare_words
from hermes_ray.cli.serve import KILLED_BY_USER
from hermes_ray.config.keys import valid_keys
from hermes_ray.config.loading import COMMAND_WORDS, load, parse_command, split_words
from hermes_ray.config.settings import Config, TopicConfig, knob
from hermes_ray.core.conditions import Condition
from hermes_ray.core.demand import wanted
from hermes_ray.core.explain import explain
from hermes_ray.core.model import Decision, Reason, Snapshot, TopicParams
from hermes_ray.errors import OperationFailed, UserMistake
from hermes_ray.worker.report import Phase
from tests.support.live import ROOT
from tests.support.readme import PAGES, README, anchors, blocks, commands, doc

COMMANDS = doc("commands").read_text(encoding="utf-8")


def shown_commands(*pages: Path) -> Iterator[list[str]]:
    """Every ``hermes`` command in a shell block of these pages, those in ``ray job submit`` included."""
    for block in chain.from_iterable(map(blocks, pages)):
        for words in commands(block) if block.language == "sh" else []:
            if "hermes" in words:
                yield words[words.index("hermes") + 1 :]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of "Your own topic"."""
    monkeypatch.delenv("HERMES_BROKER_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    for block in blocks():
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    return tmp_path


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("words", list(shown_commands(*PAGES)), ids=" ".join)
def test_every_shown_command_is_understood(words: list[str]) -> None:
    name, *rest = words
    command = cli.commands[name]
    assert isinstance(command, Command)
    context = command.make_context(name, list(rest))
    keys = list(context.params.get("words", ()))
    if name == "publish":
        own, more = split_words(keys, (*LOAD_WORDS, *COMMAND_WORDS))
        keys = [f"{word}={own[word]}" for word in COMMAND_WORDS if word in own] + more
        assert own["topic"] in parse_command(keys).config.topics
    if command.takes and command.takes.topic:
        _, keys = bare_words(keys)
    parse_command(keys, need_topics=name in ("serve", "apply", "check", "try"))


def test_every_command_there_is_has_a_row(directory: Path) -> None:
    rows = re.findall(r"^\| `hermes (\w+)", COMMANDS, re.MULTILINE)
    assert set(rows) == set(cli.commands)


def test_the_phases_of_a_worker_are_named() -> None:
    (row,) = re.findall(r"^\| `hermes workers .*", COMMANDS, re.MULTILINE)
    assert re.findall(r"`([a-z]+)`", row.split("|")[2]) == ["starting", *Phase, "outdated"]


def test_a_row_names_the_options_its_command_takes() -> None:
    named: dict[str, set[str]] = {}
    for name, words in re.findall(r"^\| `hermes (\w+)(.*)", COMMANDS, re.MULTILINE):
        named.setdefault(name, set()).update(re.findall(r"--[a-z-]+", words))
    for name, command in cli.commands.items():
        options = {word for option in command.params if isinstance(option, click.Option) for word in option.opts}
        assert named[name] == options, name


def test_what_is_said_to_roll_rolls_and_the_rest_is_live() -> None:
    operating = doc("operating").read_text(encoding="utf-8")
    rows = operating.split("| a change of | takes effect |")[1].split("\n\n")[0].splitlines()[2:7]
    live, rolling, topology, _, another = (re.findall(r"`([\w.]+)`", row.split("|")[1]) for row in rows)
    taking: dict[str, list[str]] = {}
    for at, _, entry in valid_keys(TopicConfig):
        taking.setdefault(knob(entry).takes, []).append(at.partition(".")[0])
    assert rolling == [*dict.fromkeys(taking["rolling"]), "broker"]
    assert topology == list(dict.fromkeys(taking["topology"]))
    assert another == [at for at, _, entry in valid_keys() if knob(entry).takes == "another" and at != "topics"]
    keys = {entry.name for section in (Config, TopicConfig) for entry in fields(section)}
    elsewhere = {"topics", "deployment", "latency_objective_ratio"}  # the last one does nothing yet
    assert set(live) == keys - {*rolling, *topology} - elsewhere


@pytest.mark.usefixtures("directory")
def test_the_overrides_do_what_they_say() -> None:
    shown = [words[1:] for words in shown_commands(doc("configuration")) if "--schema" not in words]
    first, second, dotted, from_environment = [parse_command(words).config.topics for words in shown]
    assert (first["orders"].workers.max, first["orders"].latency_objective_s) == (40, 5)
    assert (second["orders"].scaling.policy, second["orders"].worker.concurrency) == ("fixed", 8)
    assert dotted["orders.eu"].handler == "orders:ship"
    assert from_environment["orders"].weight == 5


def test_the_handlers_do_what_their_comments_say(tmp_path: Path) -> None:
    (source,) = [block.text for block in blocks(doc("handlers")) if block.language == "python"]
    shown: dict[str, Any] = {}
    exec(compile(source, "handlers.md", "exec"), shown)
    shown["check"](Message(b'{"amount": 7}'))
    with pytest.raises(PermanentError):
        shown["check"](Message(b'{"amount": -7}'))
    order = Message(b'{"items": [1, 2]}', id="a")
    asyncio.run(shown["split"](order))
    assert [publish.body for publish in order.publishes] == [b'{"item": 1}', b'{"item": 2}']
    store = shown["Store"](path=str(tmp_path / "items"))
    for _ in range(2):
        store(Message(b"once", id="a"))
    assert store.database.execute("SELECT * FROM item").fetchall() == [("a", b"once")]
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.database.execute("SELECT 1")


def test_the_topic_of_go_hermes_loads_as_the_table_says(tmp_path: Path) -> None:
    (block,) = blocks(doc("go-hermes"))
    (tmp_path / "my.yaml").write_text(block.text)
    topic = load(tmp_path / "my.yaml").topics["player_crawl"]
    slots = topic.worker.concurrency
    assert (slots, topic.worker.prefetch, topic.workers.max * (slots or 0)) == (5, 5, 70)
    assert (topic.retry.max_attempts, topic.retry.max_delay_s) == (6, 1800)
    rule = topic.scaling.threshold
    assert (topic.scaling.policy, rule.up_ratio, rule.max_step * (slots or 0), rule.up_checks) == (
        "threshold", 0.5, 25, 1
    )  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if not target.startswith("http")]
    for target in targets:
        path, _, part = target.partition("#")
        assert (page.parent / path).exists(), target
        assert not part or part in anchors(page.parent / path if path else page), target


def test_make_has_the_targets_the_pages_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`?make ([a-z-]+)`", page.read_text(encoding="utf-8"))}
    assert len(named) >= 3
    assert named <= targets, named - targets


def test_contributing_names_files_that_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:tests|docs|benchmarks|hermes_ray)/[\w./]*\w", text))
    assert len(named) >= 5
    assert not {path for path in named if not (ROOT / path).exists()}


def test_every_key_the_pages_name_is_one() -> None:
    keys = {"workers", "worker", "retry", "scaling", "broker", "metrics", "deployment"}
    now = [page for page in PAGES if page.name != "CHANGELOG.md"]  # that one names what keys were called
    text = "".join(page.read_text(encoding="utf-8") for page in now)
    named = {key for key in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?::[^`]*)?`", text) if key.split(".")[0] in keys}
    named -= {f"{key}.md" for key in keys}
    assert len(named) >= 12
    known = {at.removeprefix("topics.NAME.") for at, *_ in valid_keys()}
    assert named <= known, named - known


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    linked = {(ROOT / target).resolve() for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text)}
    assert set(PAGES) - {README} <= linked


def test_the_decision_of_the_readme_is_one_and_its_parts_are_explained() -> None:
    blocks_there = [block for block in blocks() if block.heading == "One decision, explained"]
    (sentence,) = [line for block in blocks_there for line in block.text.splitlines()]
    params = TopicParams(topic="orders", concurrency=32)
    seen = Snapshot(
        topic="orders",
        at_s=100.0,
        ready_count=1175,
        oldest_age_s=5.0,
        held_count=94,
        arrival_rate_hz=423.0,
        service_rate_hz=9.65,
        service_p95_s=0.104,
    )
    target = wanted(seen, params) or 0
    decision = Decision(
        topic="orders",
        at_s=100.0,
        before=1,
        target=target,
        reason=Reason.DEMAND,
        limiters=(),
        snapshot=seen,
        text="",
    )
    assert sentence == explain(decision, params, is_capacity_known=True)
    table = README.read_text(encoding="utf-8").split("| it says | which means |")[1].split("\n\n")[0]
    parts = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert re.split("[:;,] ", sentence) == re.split("[;,] ", "; ".join(parts))


def test_the_readme_names_the_commands_that_print_json() -> None:
    (said,) = re.findall(r"`--json` after (.*?), and the last", README.read_text(encoding="utf-8"), re.DOTALL)
    named = set(re.findall(r"`(?:hermes )?(\w+)`", said))
    assert named == {name for name, command in cli.commands.items() if any(p.name == "as_json" for p in command.params)}


def test_every_exit_code_has_a_row() -> None:
    rows = re.findall(r"^\| (\d+) \|", COMMANDS, re.MULTILINE)
    assert list(map(int, rows)) == [0, OperationFailed.exit_code, UserMistake.exit_code, KILLED_BY_USER]


def test_every_condition_has_a_remedy() -> None:
    remedies = re.findall(r"^\| ([^|]+) \|", doc("troubleshooting").read_text(encoding="utf-8"), re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(remedies)))
    assert set(map(str, Condition)) <= named
