"""``hermes workers``: one row a worker, or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from hermes_ray.cli.durations import duration_text
from hermes_ray.cli.reach import perhaps_topic, reach
from hermes_ray.cli.tables import UNKNOWN, console_of, figure, print_table, say

__all__ = ["workers"]

PIPED_COLUMNS = 180
NAMES = ("worker", "phase", "node")
NODE_CHARACTERS = 12  # Ray's node ids are 56 long; the first ones tell nodes apart
DURATIONS = {"longest_running_s": "longest", "age_s": "age", "report_age_s": "reported"}
COUNTS = {
    "pid": "pid", "slots": "slots", "running": "running", "held": "held", "acked": "acked", "retried": "retried",
    "dead_lettered": "dead letters", "reconnects": "reconnects",
}  # fmt: skip


def workers(words: Sequence[str], as_json: bool) -> int:
    """Print the workers there are, of one topic or all."""
    topic, rest = perhaps_topic("workers", words)
    deployment = reach(rest)
    if topic is not None:
        deployment.known(topic)
    seen = [worker for worker in deployment.workers() if topic in (None, worker["topic"])]
    if as_json:
        click.echo(json.dumps(seen))
        return 0
    if not seen:
        click.echo(f"{'the deployment' if topic is None else topic} has no workers")
        return 0
    console = console_of(PIPED_COLUMNS)
    print_table(console, NAMES, [*COUNTS.values(), *DURATIONS.values()], [_cells(worker) for worker in seen])
    for worker in seen:
        if reason := worker.get("why"):  # a scaler older than this command does not tell
            say(console, f"{worker['worker']}: {reason}", "yellow")
    return 0


def _cells(worker: Mapping[str, Any]) -> list[str]:
    phase = f"{worker['phase']}, outdated" if worker["outdated"] else str(worker["phase"])
    node = (worker["node"] or UNKNOWN)[:NODE_CHARACTERS]
    counts = [figure(worker[key]) for key in COUNTS]
    durations = [UNKNOWN if (value := worker[key]) is None else duration_text(value) for key in DURATIONS]
    return [worker["worker"], phase, node, *counts, *durations]
