"""``hermes status``: one row a topic and what a person should know beside it, or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from hermes_ray.cli.durations import ago
from hermes_ray.cli.reach import reach
from hermes_ray.cli.remarks import headline, metrics_place, neighbours, notices, remarks
from hermes_ray.cli.tables import console_of, figure, print_table, say

__all__ = ["status"]

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
    say(console, f"{headline(deployment.name, seen, now_s)}, {metrics_place(seen)}")
    print_table(console, ["topic"], COLUMNS, [_cells(topic, state) for topic, state in seen["topics"].items()])
    for line in notices(seen, now_s):
        say(console, line, "yellow")
    if line := neighbours(seen):
        say(console, line, "cyan")
    for topic, state in seen["topics"].items():
        if (last := state["last_decision"]) is not None:
            say(console, f"{topic}, {ago(last['at'], now_s)}: {last['text']}")
        for remark in remarks(topic, state, now_s):
            say(console, remark.of(topic), remark.style)
    return 0


def _cells(topic: str, state: Mapping[str, Any]) -> list[str]:
    values = [figure(state[key]) for key in (*COUNTS, *RATES)]
    return [topic, *values, _workers(state), _target(state)]


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
