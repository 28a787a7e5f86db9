"""The demo's account: what was published, what became of it, how long it waited."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from rich import box
from rich.table import Table

from hermes_ray.cli.record import Recording

__all__ = ["summarise", "summary_table", "wait_text"]

Ids = Mapping[str, Set[str]]


def summarise(
    record: Recording, *, published: Ids, handled: Mapping[str, int], ids: Ids, dead: Ids, seconds: float
) -> dict[str, Any]:
    """The content of ``summary.json``. ``handled`` counts handlings, ``ids`` are the distinct messages among them.

    A message is lost when it was confirmed and is neither handled nor a dead letter: of 10 published, 8 handled (one of
    them twice) and 1 dead letter, 1 is lost and 1 duplicated.
    """
    handled_count = sum(handled.values())
    distinct = sum(map(len, ids.values()))
    return {
        "published": sum(map(len, published.values())),
        "handled": handled_count,
        "distinct": distinct,
        "lost": sum(
            len(wanted - ids.get(topic, set()) - dead.get(topic, set())) for topic, wanted in published.items()
        ),
        "duplicated": handled_count - distinct,
        "retried": sum(state["retried"] for state in record.states.values()),
        "dead_lettered": sum(map(len, dead.values())),
        "seconds": round(seconds, 1),
        "topics": {
            topic: {
                **{f"wait_{name}": _rounded(value) for name, value in _waits(record, topic).items()},
                "peak_workers": record.peak_workers(topic),
                "decisions": len(record.marks[topic]),
            }
            for topic in record.moments
        },
    }


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The part of the summary that is by topic."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("topic")
    for column in ("wait p50", "wait p95", "wait p99", "peak workers", "decisions"):
        table.add_column(column, justify="right")
    for topic, seen in summary["topics"].items():
        waits = [seen[f"wait_{name}_s"] for name in ("p50", "p95", "p99")]
        cells = ["-" if wait is None else wait_text(wait) for wait in waits]
        table.add_row(topic, *cells, str(seen["peak_workers"]), str(seen["decisions"]))
    return table


def wait_text(seconds: float) -> str:
    """For people: 12 ms, 840 ms, 2.37 s."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.995 else f"{seconds:.2f} s"


def _waits(record: Recording, topic: str) -> Mapping[str, float | None]:
    waits: Mapping[str, float | None] = record.states[topic]["waits"] if topic in record.states else {}
    return waits


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
