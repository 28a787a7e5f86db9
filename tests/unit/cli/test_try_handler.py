"""``hermes try``: one message through a handler, without broker and Ray."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hermes_ray.cli.main import cli

Apart = Callable[..., subprocess.CompletedProcess[str]]


def test_what_the_handler_would_publish_is_shown(attempt: Callable[..., Result]) -> None:
    done = attempt("ship", "--body", '{"items": [1, 2]}')
    printed, handled, *published = done.stdout.splitlines()
    assert (done.exit_code, printed) == (0, "handling")
    assert handled.startswith("handled in ")
    assert handled.endswith(" ms")
    assert published == ['would publish to labels: {"item": 1}', 'would publish to labels: {"item": 2}']


def test_json_is_alone_on_stdout_and_has_headers_too(attempt_apart: Apart) -> None:
    done = attempt_apart("ship", "--json", "--body", '{"items": [1]}', "--headers", '{"tenant": "a"}')
    answer = json.loads(done.stdout)
    assert answer.pop("took_s") < 5
    assert answer == {
        "outcome": "handled",
        "publishes": [{"topic": "labels", "body": '{"item": 1}', "headers": {"tenant": "a"}}],
        "error": None,
        "traceback": None,
    }
    assert "handling" in done.stderr


def test_json_is_alone_on_stdout_whoever_else_writes_there(attempt_apart: Apart) -> None:
    done = attempt_apart("Program", "--json", "--body", "x")
    assert json.loads(done.stdout)["outcome"] == "handled", done.stderr
    assert (done.stderr.count("from a program\n"), done.stderr.count("from the descriptor\n")) == (3, 1)


def test_json_is_alone_on_stdout_also_when_a_thread_goes_on_writing_there(attempt_apart: Apart) -> None:
    done = attempt_apart("Talking", "--json", "--body", "x")
    assert json.loads(done.stdout)["outcome"] == "handled"
    assert (done.returncode, "still here\n" in done.stderr, "raised RuntimeError: no way out" in done.stderr) == (
        1,
        True,
        True,
    )


def test_a_close_that_cannot_be_called_is_none(attempt: Callable[..., Result]) -> None:
    assert attempt("Flagged", "--body", "x").exit_code == 0


def test_headers_json_does_not_know_are_shown_as_text(answer_of: Callable[..., Any]) -> None:
    (published,) = answer_of("table", "--body", "x")["publishes"]
    assert published["headers"] == {"at": "2024-05-01 12:30:00", "raw": "a\\xff", "deep": [{"k": "v", "n": 7}]}


def test_a_body_that_is_no_text_reaches_the_handler_byte_for_byte(attempt: Callable[..., Result]) -> None:
    done = attempt("table", "--body", os.fsdecode(b"a\xff"))
    assert done.stdout.splitlines()[1] == "would publish to labels: a\\xff"


def test_an_async_handler_gets_a_message_like_a_first_delivery(attempt: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{"n": 7}')
    done = attempt("count", "--body", "@body.json")
    assert done.stdout.splitlines()[0] == "True 1 orders"
    assert done.exit_code == 0


def test_a_class_is_built_with_its_options_and_closed_in_the_loop_of_its_calls(
    attempt: Callable[..., Result], tmp_path: Path
) -> None:
    done = attempt("Store", "--body", "seven", f"topics.orders.options.path={tmp_path}/out")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out").read_text() == "seven"


def test_what_a_handler_returns_to_be_awaited_is_awaited_in_its_context(attempt: Callable[..., Result]) -> None:
    done = attempt("wrapped", "--body", "x")
    assert (done.exit_code, done.stdout.splitlines()[1:]) == (0, ["would publish to labels: the wrapper"])


def test_a_handler_runs_where_a_worker_would_run_it(attempt: Callable[..., Result]) -> None:
    assert attempt("where", "--body", "x").stdout.splitlines()[1:] == ["would publish to labels: slot 0"]
    assert attempt("asks_itself_to_end", "--body", "x").exit_code == 0, "it had returned before that came"


LOADS = ["try", "a", "topics.a.handler=json:loads"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["try", "--body", "1"], 2, "the topic is missing: write hermes try TOPIC"),
        (["try", "a", "--body", "1"], 2, "there are no topics: give config=FILE"),
        (["try", "order", "topics.orders.handler=a:b", "--body", "1"], 2, "no topic order: did you mean orders?"),
        (["try", "a", "topics.a.handler=gone:b", "--body", "1"], 1, "handler gone:b cannot be imported"),
        ([*LOADS, "--body", "@gone"], 2, "--body @gone cannot be read (No such file or directory)"),
        ([*LOADS, "--body", "1", "--headers", "[]"], 2, "--headers is no JSON object: write one such as"),
        ([*LOADS, "--body", "1", "--headers", "{"], 2, "--headers is not JSON ("),
        ([*LOADS, "--body", "1", "--headers", f'{{"{"k" * 256}": 1}}'], 2, "--headers: these headers cannot be sent: "),
    ],
    ids=lambda part: " ".join(part)[:30] if isinstance(part, list) else "",
)
def test_mistakes_are_answered_in_one_sentence(arguments: list[str], code: int, sentence: str) -> None:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
