"""How figures and tables are printed, on a terminal and into a pipe."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["console_of", "figure", "plain_table"]

UNKNOWN = "-"


def console_of(piped_columns: int) -> Console:
    """The terminal; no terminal tells how wide it is, so a pipe and a job's log get ``piped_columns``."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=piped_columns, highlight=False)


def plain_table(names: Iterable[str] = (), numbers: Iterable[str] = ()) -> Table:
    """A table without lines between its rows: columns of names at the left, then columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in names:
        table.add_column(column, overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right")
    return table


def figure(value: float | None) -> str:
    """Three digits, whole numbers whole, ``-`` for unknown."""
    if value is None:
        return UNKNOWN
    return str(value) if isinstance(value, int) else f"{value:.3g}"
