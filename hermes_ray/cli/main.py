"""The ``hermes`` command: thin, each subcommand a function elsewhere that returns an exit code.

Exit codes: 0; 1 it failed; 2 the user's mistake.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from hermes_ray import __version__
from hermes_ray.errors import HermesError

__all__ = ["main", "run"]

WORDS = click.argument("words", nargs=-1, metavar="[config=FILE] [KEY=VALUE]...")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="hermes")
def cli() -> None:
    """The right number of workers on every RabbitMQ queue."""


@cli.command()
@WORDS
def serve(words: Sequence[str]) -> None:
    """Start a deployment and follow it: declares queues, starts the scaler, prints a line per decision.

    Ctrl-C drains everything and ends it. Words: config=FILE, detach=true (leave it running), roll=true, any key of the
    configuration.
    """
    from hermes_ray.cli.serve import serve as command

    _exit(lambda: command(words))


@cli.command()
@WORDS
def stop(words: Sequence[str]) -> None:
    """Drain every worker of a deployment and end it."""
    from hermes_ray.cli.serve import stop as command

    _exit(lambda: command(words))


@cli.command()
@WORDS
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(words: Sequence[str], as_json: bool) -> None:
    """Show every topic's depth, rates, workers and last decision."""
    from hermes_ray.cli.status import status as command

    _exit(lambda: command(words, as_json))


PUBLISH_HELP = """Publish a load to a topic's queue with pipelined confirms.

\b
topic=NAME       a topic of the configuration, or else the name of a queue
rate_hz=10       messages per second, on average
seconds=60       how long; or count=N messages, without rate_hz as fast as the broker confirms
shape=constant   or burst, ramp, sine
trace=FILE       CSV of seconds,arrivals instead of rate and shape
body=TEXT        the body; @FILE reads one, {n} becomes the message's number
ids=FILE         gets each confirmed message's id, a line each

The last line printed is JSON: {"confirmed", "returned", "nacked", "seconds"}.
"""


@cli.command(help=PUBLISH_HELP)
@click.argument("words", nargs=-1, metavar="topic=NAME [KEY=VALUE]...")
def publish(words: Sequence[str]) -> None:
    from hermes_ray.cli.publish import publish as command

    _exit(lambda: command(words))


@cli.command()
@WORDS
@click.option("--schema", is_flag=True, help="Print every key with type, default, unit, range and meaning.")
def config(words: Sequence[str], schema: bool) -> None:
    """Print the resolved configuration with secrets masked."""
    from hermes_ray.cli.config import config as command

    _exit(lambda: command(words, schema))


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; a free one by default.")
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="Keep data here.")
def broker(port: int | None, directory: Path | None) -> None:
    """Run a private RabbitMQ until Ctrl-C; prints its URL once it is ready."""
    from hermes_ray.broker.local import run_broker

    def command() -> int:
        run_broker(port, directory, sys.stdout)
        return 0

    _exit(command)


def _exit(command: Callable[[], int]) -> None:
    """Run a command; what it raises for the user becomes one sentence and the exit code that it means."""
    try:
        code = command()
    except HermesError as error:
        click.echo(f"hermes: {error}", err=True)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 1
    sys.stdout.flush()
    sys.exit(code)


def main() -> None:
    """The console script."""
    if "" not in sys.path:
        sys.path.insert(0, "")  # a user's handlers are beside the configuration
    cli(prog_name="hermes")


def run(command: str) -> None:
    """``hermes COMMAND`` with this process's arguments, for the job entry points."""
    sys.argv.insert(1, command)
    main()
