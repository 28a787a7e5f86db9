"""The ``hermes`` command: thin, each subcommand a function elsewhere that returns an exit code.

Exit codes: 0; 1 it failed; 2 the user's mistake.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from hermes_ray import __version__
from hermes_ray.cli.completion import SHELLS, Words
from hermes_ray.cli.group import Commands, Section
from hermes_ray.cli.load import LOAD_WORDS
from hermes_ray.cli.process import end_where_handlers_were, hold_standard_error

__all__ = ["main", "run"]

CONFIGURATION = Words()
TOPIC = Words(topic="TOPIC")
PERHAPS_TOPIC = Words(topic="[TOPIC]")
LOAD = Words(own=(*LOAD_WORDS, "config"), keys="topic=NAME [KEY=VALUE]...")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="hermes")
def cli() -> None:
    """The right number of workers on every RabbitMQ queue."""


@cli.command(section=Section.PREPARE, takes=CONFIGURATION)
@JSON
def check(words: Sequence[str], as_json: bool) -> int:
    """Say what of a configuration would work now.

    A line each for handlers, broker, queues, state_dir, metrics, cluster and the room for workers; exit code 1 if one
    would not work. Changes nothing.
    """
    from hermes_ray.cli.check import check as command

    return command(words, as_json)


@cli.command("try", section=Section.PREPARE, takes=TOPIC)
@click.option("--body", required=True, metavar="JSON", help="The message's body; @FILE reads one.")
@click.option("--headers", metavar="JSON", help="The message's headers, an object.")
@JSON
def try_(words: Sequence[str], body: str, headers: str | None, as_json: bool) -> int:
    """Put one message through a topic's handler, here.

    Needs no broker and no Ray. Prints what the handler would publish, or what it raised, its worker.timeout_s being
    over too, and what would become of the message then.
    """
    from hermes_ray.cli.try_handler import attempt as command

    return command(words, body, headers, as_json)


@cli.command(section=Section.PREPARE, takes=CONFIGURATION)
@click.option(
    "--schema", is_flag=True, help="Print every key: type, default, unit, range, what a change takes, meaning."
)
@click.option("--json-schema", is_flag=True, help="Print a JSON Schema of the file, for editors.")
def config(words: Sequence[str], schema: bool, json_schema: bool) -> int:
    r"""Print the resolved configuration with secrets masked.

    \b
    An editor with yaml-language-server (VS Code's YAML extension, Neovim, Emacs,
    Helix) completes and checks a file after
      hermes config --json-schema > hermes.schema.json
    beside it, and this as its first line:
      # yaml-language-server: $schema=hermes.schema.json
    """
    from hermes_ray.cli.show_config import config as command

    return command(words, schema, json_schema)


@cli.command(section=Section.RUN, takes=Words(own=("config", "detach", "roll")))
def serve(words: Sequence[str]) -> int:
    """Start a deployment, or apply to it, and follow it.

    Prints what changes, then a line per decision. Ctrl-C drains everything and ends it. Words: config=FILE,
    detach=true (leave it running), roll=true, any key of the configuration.
    """
    from hermes_ray.cli.serve import serve as command

    return command(words)


@cli.command(section=Section.RUN, takes=Words(own=("config", "roll")))
def apply(words: Sequence[str]) -> int:
    """Start a deployment, or apply to it, and leave it running.

    The same as serve detach=true.
    """
    from hermes_ray.cli.serve import serve_detached

    return serve_detached(words)


@cli.command(section=Section.RUN, takes=CONFIGURATION)
def rollback(words: Sequence[str]) -> int:
    """Go back to what ran before the last apply, code and settings.

    Once more, and it goes forward again. Needs the copy of the code that Ray keeps of a job:
    ray job submit --working-dir . -- hermes apply.
    """
    from hermes_ray.cli.serve import rollback as command

    return command(words)


@cli.command(section=Section.RUN, takes=PERHAPS_TOPIC)
def stop(words: Sequence[str]) -> int:
    """Drain every worker and end the deployment, or one topic.

    A topic so stopped stays out until the next apply.
    """
    from hermes_ray.cli.overrides import override
    from hermes_ray.cli.reach import bare_words
    from hermes_ray.cli.serve import stop as stop_all

    return override("stop", words) if bare_words(words)[0] else stop_all(words)


@cli.command(section=Section.LOOK, takes=CONFIGURATION)
@JSON
@click.option("--watch", is_flag=True, help="Show it every second, until Ctrl-C.")
def status(words: Sequence[str], as_json: bool, watch: bool) -> int:
    """Show every topic: depth, rates, workers, what is wrong."""
    if watch:
        from hermes_ray.cli.watch import watch as command
    else:
        from hermes_ray.cli.status import status as command

    return command(words, as_json)


@cli.command(section=Section.LOOK, takes=TOPIC)
@JSON
def why(words: Sequence[str], as_json: bool) -> int:
    """Say why a topic has the workers it has.

    Prints what holds now and the last decisions, with their numbers.
    """
    from hermes_ray.cli.why import why as command

    return command(words, as_json)


@cli.command(section=Section.LOOK, takes=PERHAPS_TOPIC)
@click.option("--since", default="10m", show_default=True, metavar="DURATION", help="90s, 10m, 2h, 1d; or seconds.")
@JSON
def decisions(words: Sequence[str], since: str, as_json: bool) -> int:
    """List the decisions of late, the oldest first."""
    from hermes_ray.cli.why import decisions as command

    return command(words, since, as_json)


@cli.command(section=Section.LOOK, takes=PERHAPS_TOPIC)
@JSON
def workers(words: Sequence[str], as_json: bool) -> int:
    """List the workers with what each of them does."""
    from hermes_ray.cli.workers import workers as command

    return command(words, as_json)


@cli.command(section=Section.OVERRULE, takes=TOPIC)
def pause(words: Sequence[str]) -> int:
    """Drain a topic to no workers until resume.

    Its depth is still watched.
    """
    from hermes_ray.cli.overrides import override as command

    return command("pause", words)


@cli.command(section=Section.OVERRULE, takes=Words(topic="TOPIC N"))
@click.option("--for", "for_text", metavar="DURATION", help="90s, 30m, 2h, 1d; until resume without it.")
def scale(words: Sequence[str], for_text: str | None) -> int:
    """Pin a topic to N workers.

    N may be outside workers.min and workers.max; what the cluster has no room for is not started.
    """
    from hermes_ray.cli.overrides import scale as command

    return command(words, for_text)


@cli.command(section=Section.OVERRULE, takes=TOPIC)
def resume(words: Sequence[str]) -> int:
    """End a topic's pause and pin."""
    from hermes_ray.cli.overrides import override as command

    return command("resume", words)


@cli.command(section=Section.OVERRULE, takes=Words(topic="TOPIC", is_topic_configured=False))
def forget(words: Sequence[str]) -> int:
    """Forget a topic that is no longer configured.

    Its counters, its pause and pin and what was learnt of it are gone; queues and their messages stay.
    """
    from hermes_ray.cli.overrides import forget as command

    return command(words)


PUBLISH_HELP = """Publish a load to a topic's queue.

\b
topic=NAME       a topic of the configuration, or else the name of a queue
rate_hz=10       messages per second, on average
seconds=60       how long
count=N          or how many; without rate_hz as fast as the broker confirms
shape=constant   or burst, ramp, sine
trace=FILE       CSV of seconds,arrivals instead of rate and shape
body=TEXT        the body; @FILE reads one, {n} becomes the message's number
ids=FILE         gets each confirmed message's id, a line each

The last line printed is JSON: {"confirmed", "returned", "nacked", "refused", "seconds"}.
"""


@cli.command(help=PUBLISH_HELP, section=Section.BESIDE, takes=LOAD)
def publish(words: Sequence[str]) -> int:
    from hermes_ray.cli.publish import publish as command

    return command(words)


@cli.command(section=Section.BESIDE, takes=None)
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; a free one by default.")
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="Keep data here.")
def broker(port: int | None, directory: Path | None) -> int:
    """Run a private RabbitMQ until Ctrl-C.

    Prints its URL once it is ready.
    """
    from hermes_ray.broker.private.local import run_broker

    run_broker(port, directory, sys.stdout)
    return 0


@cli.command(section=Section.BESIDE, takes=None)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    r"""Print a script that completes commands, keys and topics.

    \b
    bash, zsh:  eval "$(hermes completion bash)"     in ~/.bashrc or ~/.zshrc
    fish:       hermes completion fish | source      in ~/.config/fish/config.fish
    """
    from hermes_ray.cli.completion import completion as command

    return command(cli, shell)


def main() -> None:
    """The console script."""
    hold_standard_error()
    try:
        cli(prog_name="hermes")
    except SystemExit as end:
        end_where_handlers_were(end.code)
        raise


def run(command: str) -> None:
    """``hermes COMMAND`` with this process's arguments, for the job entry points."""
    sys.argv.insert(1, command)
    main()
