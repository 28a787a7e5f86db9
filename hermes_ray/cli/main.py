"""The ``hermes`` command: thin, each subcommand a function elsewhere that returns an exit code.

Exit codes: 0; 1 it failed; 2 the user's mistake.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from hermes_ray import __version__
from hermes_ray.cli.completion import SHELLS, offer_words
from hermes_ray.cli.group import Commands
from hermes_ray.errors import HermesError

__all__ = ["main", "run"]

KEYS = "[config=FILE] [KEY=VALUE]..."


def _words(metavar: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.argument("words", nargs=-1, metavar=metavar, shell_complete=offer_words)


WORDS = _words(KEYS)
TOPIC_WORDS = _words(f"TOPIC {KEYS}")
PERHAPS_TOPIC_WORDS = _words(f"[TOPIC] {KEYS}")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="hermes")
def cli() -> None:
    """The right number of workers on every RabbitMQ queue."""


@cli.command()
@WORDS
@JSON
def check(words: Sequence[str], as_json: bool) -> None:
    """Say what of a configuration would work now.

    A line each for handlers, broker, queues, cluster and the room for workers; exit code 1 if one would not work.
    Changes nothing.
    """
    from hermes_ray.cli.check import check as command

    _exit(lambda: command(words, as_json))


@cli.command("try")
@TOPIC_WORDS
@click.option("--body", required=True, metavar="JSON", help="The message's body; @FILE reads one.")
@click.option("--headers", metavar="JSON", help="The message's headers, an object.")
@JSON
def try_(words: Sequence[str], body: str, headers: str | None, as_json: bool) -> None:
    """Put one message through a topic's handler, here.

    Needs no broker and no Ray. Prints what the handler would publish, or what it raised and what would become of the
    message then.
    """
    from hermes_ray.cli.try_handler import attempt as command

    _exit(lambda: command(words, body, headers, as_json))


CONFIG_HELP = """Print the resolved configuration with secrets masked.

An editor with yaml-language-server, such as VS Code with its YAML extension, completes and checks a configuration with
this beside it, made once:

\b
  hermes config --json-schema > hermes.schema.json

and this as its first line:

\b
  # yaml-language-server: $schema=hermes.schema.json
"""


@cli.command(help=CONFIG_HELP)
@WORDS
@click.option("--schema", is_flag=True, help="Print every key: type, default, unit, range, what a change takes.")
@click.option("--json-schema", is_flag=True, help="Print a JSON Schema of the file, for editors.")
def config(words: Sequence[str], schema: bool, json_schema: bool) -> None:
    from hermes_ray.cli.show_config import config as command

    _exit(lambda: command(words, schema, json_schema))


@cli.command()
@WORDS
def serve(words: Sequence[str]) -> None:
    """Start a deployment, or apply to it, and follow it.

    Prints what changes, then a line per decision. Ctrl-C drains everything and ends it. Words: config=FILE,
    detach=true (leave it running), roll=true, any key of the configuration.
    """
    from hermes_ray.cli.serve import serve as command

    _exit(lambda: command(words))


@cli.command()
@WORDS
def apply(words: Sequence[str]) -> None:
    """Start a deployment, or apply to it, and leave it running.

    The same as serve detach=true.
    """
    from hermes_ray.cli.apply import apply as command

    _exit(lambda: command(words))


@cli.command()
@PERHAPS_TOPIC_WORDS
def stop(words: Sequence[str]) -> None:
    """Drain every worker and end the deployment, or one topic.

    A topic so stopped stays out until the next apply.
    """
    from hermes_ray.cli.overrides import override
    from hermes_ray.cli.reach import bare_words
    from hermes_ray.cli.serve import stop as stop_all

    _exit(lambda: override("stop", words) if bare_words(words)[0] else stop_all(words))


@cli.command()
@WORDS
@JSON
def status(words: Sequence[str], as_json: bool) -> None:
    """Show every topic: depth, rates, workers, what is wrong."""
    from hermes_ray.cli.status import status as command

    _exit(lambda: command(words, as_json))


@cli.command()
@TOPIC_WORDS
@JSON
def why(words: Sequence[str], as_json: bool) -> None:
    """Say why a topic has the workers it has.

    Prints what holds now and the last decisions, with their numbers.
    """
    from hermes_ray.cli.why import why as command

    _exit(lambda: command(words, as_json))


@cli.command()
@PERHAPS_TOPIC_WORDS
@click.option("--since", default="10m", show_default=True, metavar="DURATION", help="90s, 10m, 2h, 1d; or seconds.")
@JSON
def decisions(words: Sequence[str], since: str, as_json: bool) -> None:
    """List the decisions of late, the oldest first."""
    from hermes_ray.cli.why import decisions as command

    _exit(lambda: command(words, since, as_json))


@cli.command()
@PERHAPS_TOPIC_WORDS
@JSON
def workers(words: Sequence[str], as_json: bool) -> None:
    """List the workers with what each of them does."""
    from hermes_ray.cli.workers import workers as command

    _exit(lambda: command(words, as_json))


@cli.command()
@TOPIC_WORDS
def pause(words: Sequence[str]) -> None:
    """Drain a topic to no workers until resume.

    Its depth is still watched.
    """
    from hermes_ray.cli.overrides import override as command

    _exit(lambda: command("pause", words))


@cli.command()
@_words(f"TOPIC N {KEYS}")
@click.option("--for", "for_text", metavar="DURATION", help="90s, 30m, 2h, 1d; until resume without it.")
def scale(words: Sequence[str], for_text: str | None) -> None:
    """Pin a topic to N workers.

    N may be outside workers.min and workers.max; what the cluster has no room for is not started.
    """
    from hermes_ray.cli.overrides import scale as command

    _exit(lambda: command(words, for_text))


@cli.command()
@TOPIC_WORDS
def resume(words: Sequence[str]) -> None:
    """End a topic's pause and pin."""
    from hermes_ray.cli.overrides import override as command

    _exit(lambda: command("resume", words))


PUBLISH_HELP = """Publish a load to a topic's queue.

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
@_words("topic=NAME [KEY=VALUE]...")
def publish(words: Sequence[str]) -> None:
    from hermes_ray.cli.publish import publish as command

    _exit(lambda: command(words))


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; a free one by default.")
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="Keep data here.")
def broker(port: int | None, directory: Path | None) -> None:
    """Run a private RabbitMQ until Ctrl-C.

    Prints its URL once it is ready.
    """
    from hermes_ray.broker.private.local import run_broker

    def command() -> int:
        run_broker(port, directory, sys.stdout)
        return 0

    _exit(command)


@cli.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    r"""Print a script that completes commands, keys and topics.

    \b
    bash, zsh:  eval "$(hermes completion bash)"     in ~/.bashrc or ~/.zshrc
    fish:       hermes completion fish | source      in ~/.config/fish/config.fish
    """
    from hermes_ray.cli.completion import completion as command

    _exit(lambda: command(cli, shell))


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
