"""``hermes status``: one row a topic, or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hermes_ray.config import parse_command
from hermes_ray.runtime.deployment import Deployment, join_cluster

__all__ = ["status", "topics_table"]

UNKNOWN = "-"
PIPED_COLUMNS = 160  # no terminal tells how wide it is, and a job's log is none


def status(words: Sequence[str], as_json: bool) -> int:
    """Print what the scaler of ``cluster.name`` knows."""
    name = parse_command(words, need_topics=False).config.cluster.name
    join_cluster(name)
    seen = Deployment.find(name).status()
    if as_json:
        click.echo(json.dumps(seen))
        return 0
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_COLUMNS)
    stopping = ", stopping" if seen["stopping"] else ""
    console.print(f"deployment [bold]{escape(name)}[/], driver {seen['driver']}{stopping}")
    console.print(topics_table(seen["topics"]))
    for topic, state in seen["topics"].items():
        if (last := state["last_decision"]) is not None:
            console.print(f"{escape(topic)}, {time.time() - last['at']:.0f} s ago: {escape(last['text'])}")
        if state["start_error"]:
            console.print(f"[red]{escape(topic)}: workers do not start: {escape(state['start_error'])}[/]")
        if state["depth_error"]:
            console.print(f"[red]{escape(topic)}: its depth cannot be read: {escape(state['depth_error'])}[/]")
    return 0


def topics_table(topics: Mapping[str, Mapping[str, Any]]) -> Table:
    """A table of the topics of ``hermes status --json``."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("topic")
    for column in ("depth", "held", "retrying", "arrivals/s", "slot does/s", "wait p95 s", "workers", "target"):
        table.add_column(column, justify="right")
    for topic, state in topics.items():
        table.add_row(escape(topic), *_cells(state))
    return table


def _cells(state: Mapping[str, Any]) -> list[str]:
    workers = state["workers"]
    crew = f"{workers['observed']}"
    if workers["starting"]:
        crew += f" +{workers['starting']}"
    if workers["draining"]:
        crew += f" -{workers['draining']}"
    counts = [_number(state[key]) for key in ("depth", "held", "retrying")]
    rates = [_number(state[key]) for key in ("arrival_rate_hz", "service_rate_hz", "wait_p95_s")]
    return [*counts, *rates, crew, _number(workers["target"])]


def _number(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return str(value) if isinstance(value, int) else f"{value:.3g}"
