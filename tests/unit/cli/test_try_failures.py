"""``hermes try`` with a handler that fails: what is said is what a worker would make of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from hermes_ray.cli import try_handler
from hermes_ray.worker.handlers import trouble_at_close

Apart = Callable[..., subprocess.CompletedProcess[str]]


def test_an_error_with_half_a_surrogate_pair_is_told_like_any_other(
    attempt: Callable[..., Result], answer_of: Callable[..., Any]
) -> None:
    done = attempt("surrogate", "--body", "x")
    assert (done.exit_code, done.stdout) == (
        1,
        "raised ValueError: half a pair: \\ud83d, which would be retried\n",
    )
    assert done.stderr.endswith("ValueError: half a pair: \\ud83d\n")
    assert answer_of("surrogate", "--body", "x")["error"] == "ValueError: half a pair: \\ud83d"


def test_a_close_that_raises_is_told_after_the_outcome(attempt: Callable[..., Result], tmp_path: Path) -> None:
    done = attempt("BadEnd", "--body", "seven", f"topics.orders.options.path={tmp_path}/out")
    assert done.exit_code == 1
    assert "handled in" in done.stdout
    assert "BadEnd raised RuntimeError: no way out" in done.stderr


@pytest.mark.parametrize("handler", ["Leaving", "LeavingAsync"])
def test_a_close_that_exits_does_not_choose_the_exit_code(attempt: Callable[..., Result], handler: str) -> None:
    done = attempt(handler, "--body", "x")
    assert (done.exit_code, done.stdout.split()[0]) == (1, "handled")
    assert done.stderr.endswith(f"{handler} raised SystemExit: 3\n")


def test_a_handler_that_cannot_be_built_is_told_whatever_it_raises(attempt: Callable[..., Result]) -> None:
    done = attempt("Unbuilt", "--body", "x")
    assert done.exit_code == 1
    assert done.stderr.endswith(":Unbuilt raises Own while it is imported or built: correct it\n")


def test_work_that_never_runs_fails_the_message(attempt: Callable[..., Result]) -> None:
    done = attempt("lazy", "--body", "[1]")
    said = "TypeError: the handler returned a generator, of which nothing has run: return its result"
    assert (done.exit_code, done.stdout) == (1, f"raised {said}, which would be retried\n")
    assert done.stderr == f"{said}\n", "no frame of it is the handler's"


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        ("deferred", "raised ValueError: later, which would be retried"),
        ("grouped", "raised ExceptionGroup: all (1 sub-exception), which would be dead-lettered"),
    ],
)
def test_what_work_left_to_be_awaited_raises_and_what_is_grouped_counts_as_in_a_worker(
    attempt: Callable[..., Result], handler: str, sentence: str
) -> None:
    done = attempt(handler, "--body", "x")
    assert (done.exit_code, done.stdout) == (1, f"{sentence}\n")
    assert "try_handler.py" not in done.stderr


def test_what_is_published_once_the_handler_has_returned_is_refused(attempt: Callable[..., Result]) -> None:
    done = attempt("Late", "--body", "x")
    assert (done.exit_code, done.stdout.split()[0]) == (1, "handled")
    assert "ValueError: the handler has returned" in done.stderr


NEGATIVE = "raised PermanentError: a negative count stays negative, which would be dead-lettered"
LAST = "topics.orders.retry.max_attempts=1"
SECOND = ["topics.orders.retry.max_attempts=2", "--headers", '{"x-hermes-attempt": 2}']
THIRD = ["topics.orders.retry.max_attempts=4", "--headers", '{"x-hermes-attempt": 3}']
STRAY = "raised ValueError: this deployment has no topic 'label' to publish to: did you mean labels?"
STRAY += ", which would be retried"
NOWHERE = "raised ValueError: the topic to publish to is None: it must be text, which would be retried"


@pytest.mark.parametrize(
    ("handler", "words", "sentence", "outcome"),
    [
        ("broken", [], "raised ValueError: the database is away, which would be retried", "retry"),
        ("broken", [LAST], "raised ValueError: the database is away, which would be dead-lettered", "dead_letter"),
        ("broken", SECOND, "raised ValueError: the database is away, which would be dead-lettered", "dead_letter"),
        ("broken", THIRD, "raised ValueError: the database is away, which would be retried", "retry"),
        ("count", [], NEGATIVE, "dead_letter"),
        ("stray", [], STRAY, "retry"),
        ("nowhere", [], NOWHERE, "retry"),
        ("leaves", [], "raised SystemExit: 3, which would be retried", "retry"),
        ("own", [], "raised Own: a way out, which would be retried", "retry"),
        ("own_async", [], "raised Own: a way out, which would be retried", "retry"),
        ("mute", [], "raised Mute, which would be retried", "retry"),
    ],
    ids=[
        "retried",
        "no attempts",
        "no further attempt",
        "one more attempt",
        "permanent",
        "publishes to nobody",
        "publishes to None",
        "exits",
        "base",
        "async base",
        "mute",
    ],
)
def test_what_it_raised_and_what_became_of_the_message_are_said_with_the_traceback_of_the_handler(
    attempt: Callable[..., Result],
    answer_of: Callable[..., Any],
    handler: str,
    words: list[str],
    sentence: str,
    outcome: str,
) -> None:
    done = attempt(handler, "--body", '{"n": -1}', *words)
    assert done.exit_code == 1
    assert done.stdout == f"{sentence}\n"
    first, frame, *_ = done.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert f"in {handler}" in frame, "the first frame is the handler's"
    answer = answer_of(handler, "--body", '{"n": -1}', *words)
    assert (answer["outcome"], answer["publishes"]) == (outcome, [])


@pytest.mark.parametrize(("handler", "where"), [("waits", "await asyncio.sleep(60)"), ("hangs", ".wait(60)")])
@pytest.mark.parametrize(("words", "fate"), [([], "retried"), ([LAST], "dead-lettered")])
def test_a_handler_that_takes_longer_than_its_limit_is_given_up_on_as_in_a_worker(
    attempt: Callable[..., Result], handler: str, where: str, words: list[str], fate: str
) -> None:
    done = attempt(handler, "--body", "x", "topics.orders.worker.timeout_s=0.1", *words)
    said = f"timeout: the handler ran for longer than worker.timeout_s (0.1 s), which would be {fate}\n"
    assert (done.exit_code, done.stdout) == (1, said)
    assert where in done.stderr


@pytest.mark.parametrize("handler", ["Thorough", "waits_in_a_thread"])
def test_what_a_handler_leaves_hanging_does_not_keep_the_command(attempt_apart: Apart, handler: str) -> None:
    done = attempt_apart(handler, "--body", "x", "topics.orders.worker.timeout_s=0.1")
    assert "timeout: the handler ran for longer than" in done.stdout, done.stderr
    assert done.returncode == 1


def test_a_close_that_does_not_end_is_told(attempt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(try_handler, "trouble_at_close", partial(trouble_at_close, timeout_s=0.1))
    done = attempt("Thorough", "--body", "x", "topics.orders.worker.timeout_s=0.1")
    assert done.stderr.endswith(":Thorough has not ended within 0.1 s\n")


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_secrets_of_options_are_not_in_what_the_handler_raised(
    attempt_apart: Apart, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSN", "db://app:canary1@h")
    monkeypatch.setenv("PW", "canary2")
    options = "topics.orders.options={dsn: '${oc.env:DSN}', password: '${oc.env:PW}'}"
    done = attempt_apart("Telling", options, "--body", "x", *more)
    said = done.stdout + done.stderr
    assert "cannot reach *** with ***" in said
    assert "cannot leave *** with ***" in said
    assert "canary" not in said
    assert done.returncode == 1


def test_an_error_that_no_traceback_can_be_made_of_is_told_in_a_sentence(attempt: Callable[..., Result]) -> None:
    done = attempt("odd", "--body", "x")
    assert (done.exit_code, "raised SyntaxError: bad" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("raises", "ValueError: no database with ***"),
        ("exits", "SystemExit: no database with ***"),
        ("stops", "something in the handlers' event loop stopped it"),
    ],
)
def test_what_a_handler_leaves_in_the_event_loop_is_logged_as_in_a_worker_and_ends_nothing(
    attempt: Callable[..., Result],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    said: str,
) -> None:
    monkeypatch.setenv("PW", "canary")
    done = attempt("LeavingBehind", f"topics.orders.options={{password: '${{oc.env:PW}}', way: {way}}}", "--body", "x")
    assert (done.exit_code, done.stdout.splitlines()[1:]) == (0, ["would publish to labels: went on"]), done.output
    assert said in caplog.text
    assert "canary" not in caplog.text + done.output
