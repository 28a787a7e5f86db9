"""``hermes config``: the resolved configuration, every key there is, or a JSON Schema for editors."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from hermes_ray.cli.schema_table import print_schema
from hermes_ray.config.loading import masked_command
from hermes_ray.config.schema import json_schema, schema_rows

__all__ = ["config"]


def config(words: Sequence[str], schema: bool, for_editors: bool) -> int:
    """Print the configuration these words give, secrets masked; instead of it the keys, or the file's JSON Schema."""
    if for_editors:
        click.echo(json.dumps(json_schema(), indent=2))
    elif schema:
        print_schema(schema_rows())
    else:
        click.echo(masked_command(words), nl=False)
    return 0
