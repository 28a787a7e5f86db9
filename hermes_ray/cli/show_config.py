"""``hermes config``: the resolved configuration, or every key there is."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hermes_ray.config.loading import COMMAND_WORDS, masked_yaml, parse_command, schema_rows, split_words

__all__ = ["config"]

PIPED_COLUMNS = 220  # no terminal tells how wide it is, and grep wants a key on one line


def config(words: Sequence[str], schema: bool) -> int:
    """Print the configuration these words give, secrets masked; with ``schema`` the keys instead."""
    if schema:
        _print_schema()
        return 0
    parse_command(words, need_topics=False)
    own, dotlist = split_words(words, COMMAND_WORDS)
    click.echo(masked_yaml(own.get("config"), dotlist), nl=False)
    return 0


def _print_schema() -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("key", "type", "default", "unit", "allowed", "meaning"):
        table.add_column(column, overflow="fold")
    for row in schema_rows():
        table.add_row(*map(escape, (row.key, row.type, row.default, row.unit, row.allowed, row.meaning)))
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_COLUMNS)
    console.print(table)
