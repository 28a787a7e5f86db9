"""Every key of the configuration for people: a table, or a few lines a key where a terminal is too narrow for one."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hermes_ray.cli.tables import console_of, say
from hermes_ray.config.schema import SchemaRow

__all__ = ["print_schema"]

PIPED_COLUMNS = 220  # a pipe has no width: wide enough to keep each key on one line, for grep
TABLE_COLUMNS = 140  # in fewer, keys or numbers would be folded
INDENT = "    "


def print_schema(rows: Iterable[SchemaRow]) -> None:
    """Print each key with its type, default, unit, range and meaning; keys and numbers whole."""
    console = console_of(PIPED_COLUMNS)
    if console.width >= TABLE_COLUMNS:
        _print_table(console, rows)
        return
    for row in rows:
        console.print(Text(row.key, style="bold"), soft_wrap=True)
        unit = f" {row.unit}" if row.unit else ""
        parts = [
            row.type,
            f"default {row.default or repr('')}{unit}",
            f"allowed {row.allowed}" if row.allowed else "",
            row.takes,
        ]
        say(console, INDENT + ", ".join(filter(None, parts)), "dim")
        say(console, INDENT + row.meaning)


def _print_table(console: Console, rows: Iterable[SchemaRow]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("key", no_wrap=True)
    for column in ("type", "default", "unit", "allowed", "takes", "meaning"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, (row.key, row.type, row.default, row.unit, row.allowed, row.takes, row.meaning)))
    console.print(table)
