"""What a command must say of itself where it is defined, and what comes of it: the help page, the usage, exit codes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner

from hermes_ray.cli.completion import Words
from hermes_ray.cli.group import Command, Commands, Section
from hermes_ray.cli.main import cli
from hermes_ray.errors import OperationFailed, UserMistake
from tests.support.canaries import leaks


def test_the_help_page_lists_every_command_once_under_the_heading_it_names() -> None:
    page = CliRunner().invoke(cli, ["-h"]).output
    heading, listed = "", {}
    for line in page.partition("Options:")[2].splitlines():
        if line and not line.startswith(" "):
            heading = line.rstrip(":")
        elif (words := line.split()) and words[0] in cli.commands:
            assert words[0] not in listed
            listed[words[0]] = heading
    assert listed == {name: command.section for name, command in cli.commands.items() if isinstance(command, Command)}
    assert "..." not in page.split("Prepare:")[1], "no sentence is cut"


def test_what_is_listed_for_completion_is_every_command() -> None:
    assert sorted(cli.list_commands(click.Context(cli))) == sorted(cli.commands)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_a_page_of_help_keeps_its_lines_and_shows_no_mark_that_says_so(name: str) -> None:
    page = CliRunner().invoke(cli, [name, "-h"]).output
    assert "\\b" not in page
    assert "\b" not in page
    assert max(map(len, page.splitlines())) <= 80


@pytest.mark.parametrize("said", [{}, {"section": Section.LOOK}, {"takes": None}])
def test_a_command_that_does_not_say_its_section_and_words_is_an_error_where_it_is_defined(
    said: dict[str, object],
) -> None:
    with pytest.raises(TypeError, match=r"section|takes"):
        Commands().command("new", **said)(lambda: 0)
    with pytest.raises(TypeError, match="the command new has no section"):
        Commands().add_command(click.Command("new"))


def test_the_usage_is_made_of_the_words_a_command_takes() -> None:
    group = Commands()

    @group.command(section=Section.RUN, takes=Words(topic="TOPIC", own=("config", "speed")))
    def new(words: tuple[str, ...]) -> int:
        click.echo(" ".join(words))
        return 3

    done = CliRunner().invoke(group, ["new", "a", "b=c"])
    assert (done.exit_code, done.output) == (3, "a b=c\n")
    assert "new [OPTIONS] TOPIC [config=FILE] [KEY=VALUE]..." in CliRunner().invoke(group, ["new", "--help"]).output


def _interrupted_in_a_class() -> RuntimeError:
    """As Python 3.11 has it, for instance while ray is imported."""
    error = RuntimeError("Error calling __set_name__ on 'Field' instance")
    error.__cause__ = KeyboardInterrupt()
    return error


def _raising(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserMistake("no such key"), 2, "hermes: no such key\n"),
        (OperationFailed("the broker is gone"), 1, "hermes: the broker is gone\n"),
        (KeyboardInterrupt(), 130, ""),
        (_interrupted_in_a_class(), 130, ""),
    ],
)
def test_what_a_command_raises_is_a_sentence_and_an_exit_code(error: BaseException, code: int, said: str) -> None:
    group = Commands()
    group.command("new", section=Section.RUN, takes=None)(_raising(error))
    done = CliRunner().invoke(group, ["new"])
    assert (done.exit_code, done.stderr) == (code, said)


def test_a_reader_that_has_enough_is_no_traceback() -> None:
    shown = f"""{sys.executable} -c "from hermes_ray.cli.main import main; main()" config --schema"""
    done = subprocess.run(f"{shown} | head -n 1", shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scale", "orders", "-1"], "hermes: no such option '-1': see hermes scale -h\n"),
        (["nothing"], "hermes: no such command 'nothing': see hermes -h\n"),
        (
            ["completion"],
            "hermes: missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish: see hermes completion -h\n",
        ),
    ],
)
def test_a_mistake_in_the_words_is_a_sentence(words: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, words, prog_name="hermes")
    assert (done.exit_code, done.stderr) == (2, said)


@pytest.mark.parametrize(
    "command",
    [
        "URL", "--URL", "broker URL", "broker --port URL", "broker --port=URL", "completion URL", "scale x URL",
        "pause x URL", "decisions --since URL", "publish topic=x trace=URL", "publish topic=x rate_hz=URL",
        "publish topic=x body=@URL", "publish topic=x ids=URL", "try URL topics.x.handler=json:dumps --body 1",
        "try x topics.x.handler=json:dumps --body @URL", "config URL", "apply detach=URL",
    ],
)  # fmt: skip
def test_a_url_in_a_place_of_another_word_is_quoted_without_its_password(command: str) -> None:
    words = [word.replace("URL", "amqp://me:Zq7=Zq7@h/") for word in command.split()]
    done = CliRunner().invoke(cli, words, prog_name="hermes")
    assert done.exit_code == 2
    assert done.stderr.startswith("hermes: ")
    assert not leaks(done.output)


@pytest.mark.parametrize(
    ("words", "where", "code", "said"),
    [
        ("config --schema", ">/dev/full", 1, "hermes: the output cannot be written: No space left on device\n"),
        ("--help", ">/dev/full", 1, "hermes: the output cannot be written: No space left on device\n"),
        ("config topics.a.handler=m:f", ">&-", 0, ""),
    ],
)
def test_output_that_cannot_be_written_is_no_traceback(words: str, where: str, code: int, said: str) -> None:
    command = f"""{sys.executable} -c "from hermes_ray.cli.main import main; main()" {words} {where}"""
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, said)


def test_the_help_page_imports_no_library_but_click() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from hermes_ray.cli.main import cli; "
        "CliRunner().invoke(cli, ['-h']); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"ray", "pika", "omegaconf", "yaml", "rich", "prometheus_client", "matplotlib", "asyncio", "msgspec"}
    assert not heavy.intersection(loaded)


def test_with_no_standard_error_a_command_works_as_ever() -> None:
    """Ray writes to it: the number would be a file's or a connection's."""
    code = "import os, sys; os.close(2); sys.argv = ['hermes', 'config']; from hermes_ray.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, close_fds=True)
    assert done.returncode == 0
    assert "deployment:" in done.stdout
