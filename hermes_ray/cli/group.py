"""What a ``hermes`` command is, and the page of ``hermes -h``: each command says its section and its words itself."""

from __future__ import annotations

import errno
import os
import sys
from enum import StrEnum
from typing import Any

import click

from hermes_ray.cli.completion import Words
from hermes_ray.config.secrets import without_words
from hermes_ray.errors import HermesError

__all__ = ["Command", "Commands", "Section", "output_failed"]

INTERRUPTED = 130


class Section(StrEnum):
    """The headings of ``hermes -h``, in the order in which one needs them."""

    PREPARE = "Prepare"
    RUN = "Run"
    LOOK = "Look"
    OVERRULE = "Overrule"
    BESIDE = "Beside"


class Command(click.Command):
    """A command under ``section`` of the help page that ``takes`` these words, None for no words.

    Its function gets the words as ``words`` and returns the exit code: 0; 1 it failed; 2 the user's mistake.
    """

    def __init__(self, name: str | None, *, section: Section, takes: Words | None, **settings: Any) -> None:
        super().__init__(name, **settings)
        if self.help is not None:
            # click keeps the lines below a backspace; a raw docstring has a backslash and a "b" there.
            self.help = self.help.replace("\\b\n", "\b\n")
        self.section = section
        self.takes = takes
        if takes is not None:
            words = click.Argument(["words"], nargs=-1, metavar=takes.usage, shell_complete=takes.offer)
            self.params.insert(0, words)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it and leave with its exit code; what it raises for the user is told by the group."""
        try:
            code = super().invoke(ctx)
        except KeyboardInterrupt:
            code = INTERRUPTED
        except RuntimeError as error:
            # Python 3.11 wraps what interrupts it in the middle of a class, as while ray is imported.
            if not isinstance(error.__cause__, KeyboardInterrupt):
                raise
            code = INTERRUPTED
        sys.exit(code)


def output_failed(error: OSError) -> None:
    """Tell of output that cannot be written, and have Python not complain of it at its end once more.

    A closed pipe is no trouble: whoever read has enough, as ``head`` has.
    """
    if error.errno not in (errno.EPIPE, errno.ENOSPC):
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.ENOSPC:
        click.echo(f"hermes: the output cannot be written: {error.strerror}", err=True)


class Commands(click.Group):
    """A group whose commands are listed by section, each section in the order of definition."""

    command_class = Command

    def main(self, *args: Any, **settings: Any) -> Any:
        """As click's; what is wrong with the words, the output or all else is one sentence, without passwords."""
        code: int | str | None = 1
        words = args[0] if args else settings.get("args")
        words = sys.argv[1:] if words is None else words
        try:
            code = super().main(*args, **{**settings, "standalone_mode": False})
        except SystemExit as end:
            code = end.code
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.UsageError as error:
            said = " ".join(without_words(error.format_message(), words).split())
            command = error.ctx.command_path if error.ctx else "hermes"
            click.echo(f"hermes: {said[:1].lower()}{said[1:].rstrip('.')}: see {command} -h", err=True)
            code = error.exit_code
        except HermesError as error:
            click.echo(f"hermes: {without_words(str(error), words)}", err=True)
            code = error.exit_code
        except click.Abort:
            code = INTERRUPTED
        except OSError as error:
            output_failed(error)
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError as error:
            output_failed(error)
            code = 1
        sys.exit(code)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if not isinstance(cmd, Command):
            raise TypeError(f"the command {name or cmd.name} has no section: define it with section= and takes=")
        super().add_command(cmd, name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in Section for name in self._of(section)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for section in Section:
            names = self._of(section)
            rows = [(name.ljust(width), self.commands[name].get_short_help_str(limit=70)) for name in names]
            with formatter.section(section):
                formatter.write_dl(rows)

    def _of(self, section: Section) -> list[str]:
        return [
            name
            for name, command in self.commands.items()
            if isinstance(command, Command) and command.section is section
        ]
