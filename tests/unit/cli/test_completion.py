"""What a shell offers after ``hermes``, through click's own completion."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import BashComplete, ShellComplete, ZshComplete
from click.testing import CliRunner

from hermes_ray.cli.completion import SHELLS
from hermes_ray.cli.load import LOAD_WORDS
from hermes_ray.cli.main import cli

FILE = "topics: {orders: {handler: 'a:b'}, orders.eu: {handler: 'a:b', queue: q}}"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(FILE)
    Path("broken.yaml").write_text("topics: [")
    Path("notes.txt").write_text("")
    Path("conf").mkdir()
    Path("conf", "more.yml").write_text(FILE)


def offered(*words: str) -> list[str]:
    """What is offered for the last of ``words``."""
    shell = ShellComplete(cli, {}, "hermes", "_HERMES_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


def test_subcommands_and_options_are_completed() -> None:
    assert offered("s") == ["serve", "stop", "status", "scale"]
    assert offered("decisions", "--s") == ["--since"]
    assert offered("completion", "") == list(SHELLS)


def test_config_is_completed_with_yaml_files_and_directories() -> None:
    assert offered("serve", "con") == ["config="]
    assert offered("serve", "config=") == ["config=broken.yaml", "config=conf/", "config=my.yaml"]
    assert offered("serve", "config=m") == ["config=my.yaml"]
    assert offered("serve", "config=conf/") == ["config=conf/more.yml"]


def test_keys_are_completed_with_the_topics_of_the_file() -> None:
    assert offered("serve", "config=my.yaml", "topics.orders.workers.") == [
        "topics.orders.workers.min=", "topics.orders.workers.max=", "topics.orders.workers.roll_surge="
    ]  # fmt: skip
    assert "topics[orders.eu].weight=" in offered("serve", "config=my.yaml", "topics[")
    assert offered("serve", "drain") == ["drain_timeout_s="]
    assert offered("config", "broker.d") == ["broker.decoder="]
    assert offered("config", "broker.tls.c") == ["broker.tls.ca=", "broker.tls.cert="]


def test_a_topic_typed_by_hand_needs_no_file() -> None:
    assert offered("serve", "topics.mine.retry.max_a") == ["topics.mine.retry.max_attempts="]


def test_without_a_letter_only_the_words_of_the_command_are_offered() -> None:
    assert offered("serve", "") == ["config=", "detach=", "roll="]
    assert offered("serve", "detach=") == ["detach=true", "detach=false"]


def test_every_word_of_publish_is_offered() -> None:
    assert offered("publish", "") == [f"{word}=" for word in (*LOAD_WORDS, "config")]
    assert offered("publish", "ra") == ["rate_hz="]


def test_a_topic_that_is_no_longer_configured_is_not_offered() -> None:
    assert offered("forget", "config=my.yaml", "") == ["config="]


def test_commands_about_a_topic_complete_its_name_once() -> None:
    assert offered("why", "config=my.yaml", "") == ["orders", "orders.eu", "config="]
    assert offered("why", "config=my.yaml", "orders", "") == ["config="]
    assert offered("publish", "config=my.yaml", "topic=orders.") == ["topic=orders.eu"]
    assert offered("why", "config=broken.yaml", "o") == []


@pytest.mark.parametrize(
    ("line", "number", "values"),
    [
        ("hermes serve config = m", 4, ["my.yaml"]),
        ("hermes serve config =", 3, ["broken.yaml", "conf/", "my.yaml"]),
        ("hermes serve config = my.yaml topics.orders.wei", 5, ["topics.orders.weight="]),
        ("hermes pause config = my.yaml or", 5, ["orders", "orders.eu"]),
        ("hermes publish config = my.yaml topic = orders.", 7, ["orders.eu"]),
    ],
)
def test_bash_takes_a_word_with_an_equals_sign_for_three(
    monkeypatch: pytest.MonkeyPatch, line: str, number: int, values: list[str]
) -> None:
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(number))
    told = BashComplete(cli, {}, "hermes", "_HERMES_COMPLETE").complete()
    assert told.splitlines() == [f"plain,{value}" for value in values]


def test_zsh_shows_what_a_key_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDS", "hermes serve drain")
    monkeypatch.setenv("COMP_CWORD", "2")
    told = ZshComplete(cli, {}, "hermes", "_HERMES_COMPLETE").complete()
    assert told.splitlines() == ["plain", "drain_timeout_s=", "How long stopping lets running handlers finish."]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])
    assert done.exit_code == 0
    assert f"_HERMES_COMPLETE={shell}_complete" in done.stdout


def test_bash_puts_no_space_where_a_value_follows() -> None:
    assert "compopt -o nospace\n    return 0" in CliRunner().invoke(cli, ["completion", "bash"]).stdout
