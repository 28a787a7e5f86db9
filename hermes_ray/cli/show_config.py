"""``hermes config``: the resolved configuration, every key there is, or the schema of the file for an editor."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hermes_ray.config.loading import masked_command
from hermes_ray.config.schema import json_schema, schema_rows

__all__ = ["config"]

PIPED_COLUMNS = 220  # no terminal tells how wide it is, and grep wants a key on one line


def config(words: Sequence[str], schema: bool, for_editors: bool) -> int:
    """Print the configuration these words give, secrets masked; instead of it the keys, or the file's JSON Schema."""
    if for_editors:
        click.echo(json.dumps(json_schema(), indent=2))
    elif schema:
        _print_schema()
    else:
        click.echo(masked_command(words), nl=False)
    return 0


def _print_schema() -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_COLUMNS)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("key", "type", "default", "unit", "allowed", "takes", "meaning"):
        table.add_column(column, overflow="fold", no_wrap=column == "key" and not console.is_terminal)
    for row in schema_rows():
        cells = (row.key, row.type, row.default, row.unit, row.allowed, row.takes, row.meaning)
        table.add_row(*map(escape, cells))
    console.print(table)
