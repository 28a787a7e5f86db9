"""A traceback is told with all its frames, whatever their source lines assign, and without a secret."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from hermes_ray.config.option_secrets import without_secrets


def wordless() -> str:
    raise TimeoutError


def assigns() -> None:
    token = wordless()
    del token


def passes_on() -> None:
    headers = {"Authorization": "canary1", "api_key": ["canary2", wordless()]}
    del headers


def chains() -> None:
    try:
        assigns()
    except TimeoutError as error:
        raise RuntimeError("refused: password=canary3\ncanary4\n canary5") from error


def chains_again() -> None:
    try:
        chains()
    except RuntimeError:
        passes_on()


def groups() -> None:
    errors: list[Exception] = []
    for function in (chains, chains_again):
        try:
            function()
        except Exception as error:
            error.add_note("token: canary6\ncanary7")
            errors.append(error)
    raise ExceptionGroup("together", errors)


def told_of(function: Callable[[], None]) -> tuple[str, str]:
    """Its traceback as Python has it, and as it is told."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - any that is raised
        function()
    trace = "".join(traceback.format_exception(raised.value))
    return trace, without_secrets(trace, {})


def is_of_the_traceback(line: str) -> bool:
    words = ("File", "above", "Traceback", "TimeoutError", "RuntimeError:")
    return "+--" in line or any(f" {word} " in f" {line} " for word in words)


@pytest.mark.parametrize("function", [assigns, passes_on, chains, chains_again, groups])
def test_a_traceback_is_told_with_all_its_frames_and_errors_and_without_secrets(function: Callable[[], None]) -> None:
    trace, told = told_of(function)
    assert "canary" not in told
    kept = [line.partition("password")[0] for line in trace.splitlines() if is_of_the_traceback(line)]
    assert [line.partition("password")[0] for line in told.splitlines() if is_of_the_traceback(line)] == kept


def test_an_error_without_words_ends_its_traceback_and_the_next_begins_on_a_line_of_its_own() -> None:
    _, told = told_of(assigns)
    assert told.endswith("    raise TimeoutError\nTimeoutError\n")
    assert "\n    token = ***\n  File " in told
    _, told = told_of(chains_again)
    assert "\nRuntimeError: refused: password=***\n\nDuring handling of the above" in told


def test_a_stack_keeps_its_frames() -> None:
    stack = '  File "a.py", line 1, in a\n    token = b()\n  File "a.py", line 2, in b\n    time.sleep(9)\n'
    assert without_secrets(stack, {}) == stack.replace("b()", "***", 1)


@pytest.mark.parametrize("words", ["-----BEGIN PRIVATE KEY-----\n{}\n", "token:\n  {}\n\n", "password='{}\nx: {}'"])
def test_a_secret_of_many_lines_is_hidden_in_an_error_s_words(words: str) -> None:
    words = words.replace("{}", "Canary1+/\nCanary2==\n  Canary3")
    trace = 'Traceback (most recent call last):\n  File "a.py", line 1, in a\n    raise ValueError(words)\n'
    told = without_secrets(f"{trace}ValueError: {words}", {})
    assert told.startswith(trace)
    assert "Canary" not in told


@pytest.mark.parametrize("piece", ["\n", "\n |", ' File "', '\n  File "a", line 1', "\n   ", "\n+---------", "- 1 "])
def test_a_text_that_is_like_a_traceback_is_looked_through_once(piece: str) -> None:
    assert without_secrets(f"a{piece * 30_000}b", {}).startswith("a")
