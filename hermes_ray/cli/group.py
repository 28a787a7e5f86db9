"""The page of ``hermes -h``: commands under headings, in the order in which one needs them."""

from __future__ import annotations

import click

__all__ = ["SECTIONS", "Commands"]

SECTIONS = {
    "Prepare": ("check", "try", "config"),
    "Run": ("serve", "apply", "stop"),
    "Look": ("status", "why", "decisions", "workers"),
    "Overrule": ("pause", "scale", "resume"),
    "Beside": ("publish", "broker", "completion"),
}


class Commands(click.Group):
    """A group whose commands are listed by section."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in SECTIONS.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for heading, names in SECTIONS.items():
            rows = [(name.ljust(width), self.commands[name].get_short_help_str(limit=70)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(rows)
