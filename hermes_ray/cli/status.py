"""``hermes status``: one row a topic and what a person should know beside it, or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from hermes_ray.cli.durations import ago
from hermes_ray.cli.overrides import ruling
from hermes_ray.cli.reach import reach
from hermes_ray.cli.tables import console_of, figure, plain_table
from hermes_ray.core.conditions import MEANINGS, Condition

__all__ = ["remarks", "status"]

PIPED_COLUMNS = 160
COUNTS = ("depth", "held", "retrying")
RATES = ("oldest_age_s", "arrival_rate_hz", "service_rate_hz", "wait_p95_s")
COLUMNS = ("depth", "held", "retrying", "oldest s", "arrivals/s", "slot does/s", "wait p95 s", "workers", "target")


def status(words: Sequence[str], as_json: bool) -> int:
    """Print what the scaler of ``deployment.name`` knows."""
    deployment = reach(words)
    seen = deployment.status()
    if as_json:
        click.echo(json.dumps(seen))
        return 0
    now_s = time.time()
    console = console_of(PIPED_COLUMNS)
    console.print(escape(_head(deployment.name, seen, now_s)), soft_wrap=True)
    console.print(_table(seen["topics"]))
    for line in seen["warnings"]:
        console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)
    for topic, state in seen["topics"].items():
        if (last := state["last_decision"]) is not None:
            console.print(escape(f"{topic}, {ago(last['at'], now_s)}: {last['text']}"), soft_wrap=True)
        for style, line in remarks(topic, state, now_s):
            console.print(f"[{style}]{escape(line)}[/]", soft_wrap=True)
    return 0


def remarks(topic: str, state: Mapping[str, Any], now_s: float) -> Iterator[tuple[str, str]]:
    """What a person should know of a topic: what overrules its policy and what is wrong; each with its style."""
    if state["override"]:
        yield "cyan", ruling(topic, state["override"], now_s)
    for name in state["conditions"]:  # a scaler newer than this command may know others
        yield "yellow", f"{topic} {name}: {MEANINGS[Condition(name)]}" if name in MEANINGS else f"{topic} {name}"
    if state["start_error"]:
        yield "red", f"{topic}: workers do not start: {state['start_error']}"
    if state["depth_error"]:
        yield "red", f"{topic}: its depth cannot be read: {state['depth_error']}"


def _head(name: str, seen: Mapping[str, Any], now_s: float) -> str:
    driver = "no driver" if seen["driver"] == "none" else f"driver {seen['owner'] or seen['driver']}"
    parts = [
        f"deployment {name}",
        f"applied {ago(seen['applied_at'], now_s)}" if seen["generation"] else "",
        driver,
        f"metrics {seen['metrics_url']}" if seen["metrics_url"] else "no metrics",
        "stopping" if seen["stopping"] else "",
    ]
    return ", ".join(filter(None, parts))


def _table(topics: Mapping[str, Mapping[str, Any]]) -> Table:
    table = plain_table(["topic"], COLUMNS)
    for topic, state in topics.items():
        values = [figure(state[key]) for key in (*COUNTS, *RATES)]
        table.add_row(escape(topic), *values, _workers(state), _target(state))
    return table


def _workers(state: Mapping[str, Any]) -> str:
    """Those that consume, +starting, -draining, and how many are yet to be replaced: ``8 +2, 3 old``."""
    workers = state["workers"]
    starting = f" +{workers['starting']}" if workers["starting"] else ""
    draining = f" -{workers['draining']}" if workers["draining"] else ""
    old = f", {state['outdated']} old" if state["outdated"] else ""
    return f"{workers['observed']}{starting}{draining}{old}"


def _target(state: Mapping[str, Any]) -> str:
    override = state["override"]
    target = figure(state["workers"]["target"])
    return f"{target} {override['kind']}" if override else target
