"""``hermes config``: the resolved configuration, or every key there is."""

from __future__ import annotations

from collections.abc import Sequence

import click

from hermes_ray.cli.schema_table import print_schema
from hermes_ray.config.loading import COMMAND_WORDS, masked_yaml, parse_command, schema_rows, split_words

__all__ = ["config"]


def config(words: Sequence[str], schema: bool) -> int:
    """Print the configuration these words give, secrets masked; with ``schema`` the keys instead."""
    if schema:
        print_schema(schema_rows())
        return 0
    parse_command(words, need_topics=False)
    own, dotlist = split_words(words, COMMAND_WORDS)
    click.echo(masked_yaml(own.get("config"), dotlist), nl=False)
    return 0
