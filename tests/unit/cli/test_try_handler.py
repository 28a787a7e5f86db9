"""``hermes try``: one message through a handler, without broker and Ray."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hermes_ray.cli.main import cli

HANDLERS = """
import asyncio, contextvars, datetime
from hermes_ray import PermanentError

def ship(message):
    print("handling")
    for item in message.json()["items"]:
        message.publish("labels", {"item": item}, headers={"tenant": message.headers.get("tenant", "none")})

async def count(message):
    await asyncio.sleep(0)
    if message.json()["n"] < 0:
        raise PermanentError("a negative count stays negative")
    print(message.id is not None, message.attempt, message.topic)

def broken(message):
    message.publish("labels", "never sent")
    raise ValueError("the database is away")

def table(message):
    when = datetime.datetime(2024, 5, 1, 12, 30)
    message.publish("labels", message.body, headers={"at": when, "raw": b"a\\xff", "deep": [{b"k": b"v", "n": 7}]})

def surrogate(message):
    raise ValueError("half a pair: \\ud83d")

def stray(message):
    message.publish("label", "x")

def nowhere(message):
    message.publish(None, "x")

WHO = contextvars.ContextVar("who")

def wrapped(message):
    WHO.set("the wrapper")
    async def inner():
        message.publish("labels", WHO.get())
    return inner()

def lazy(message):
    return (item for item in message.json())

async def deferred(message):
    async def inner():
        raise ValueError("later")
    return [inner()]

def grouped(message):
    raise ExceptionGroup("all", [PermanentError("for good")])

class Late:
    async def __call__(self, message):
        self.message = message

    async def close(self):
        self.message.publish("labels", "too late")

def leaves(message):
    raise SystemExit(3)

class Own(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")

def own(message):
    raise Own("a way out")

async def own_async(message):
    raise Own("a way out")

def mute(message):
    raise Mute

class Unbuilt:
    def __init__(self):
        raise Own("a way out")

    def __call__(self, message):
        pass

class Leaving:
    def __call__(self, message):
        pass

    def close(self):
        raise SystemExit(3)

class LeavingAsync(Leaving):
    async def close(self):
        raise SystemExit(3)

class Store:
    def __init__(self, path):
        self.file = open(path, "w")

    async def __call__(self, message):
        self.loop = asyncio.get_running_loop()
        self.file.write(message.body.decode())

    async def close(self):
        assert asyncio.get_running_loop() is self.loop
        self.file.close()

class Telling:
    def __init__(self, dsn, password):
        self.told = f"{dsn} with {password}"

    def __call__(self, message):
        raise ConnectionError(f"cannot reach {self.told}")

    def close(self):
        raise ConnectionError(f"cannot leave {self.told}")

def odd(message):
    error = SyntaxError("bad")
    error.text, error.lineno = 5, "12"
    raise error

class BadEnd(Store):
    async def close(self):
        await super().close()
        raise RuntimeError("no way out")
"""


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``hermes try orders`` with a handler of the file above, and further arguments."""
    module = f"tried_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(HANDLERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(handler: str, *arguments: str) -> Result:
        topics = [f"topics.orders.handler={module}:{handler}", f"topics.labels.handler={module}:count"]
        return CliRunner().invoke(cli, ["try", "orders", *topics, *arguments])

    return run


def test_what_the_handler_would_publish_is_shown(attempt: Callable[..., Result]) -> None:
    done = attempt("ship", "--body", '{"items": [1, 2]}')
    printed, handled, *published = done.stdout.splitlines()
    assert (done.exit_code, printed) == (0, "handling")
    assert handled.startswith("handled in ")
    assert handled.endswith(" ms")
    assert published == ['would publish to labels: {"item": 1}', 'would publish to labels: {"item": 2}']


def test_json_is_alone_on_stdout_and_has_headers_too(attempt: Callable[..., Result]) -> None:
    done = attempt("ship", "--json", "--body", '{"items": [1]}', "--headers", '{"tenant": "a"}')
    answer = json.loads(done.stdout)
    assert answer.pop("took_s") < 5
    assert answer == {
        "outcome": "handled",
        "publishes": [{"topic": "labels", "body": '{"item": 1}', "headers": {"tenant": "a"}}],
        "error": None,
        "traceback": None,
    }
    assert "handling" in done.stderr


def test_headers_json_does_not_know_are_shown_as_text(attempt: Callable[..., Result]) -> None:
    done = attempt("table", "--json", "--body", "x")
    (published,) = json.loads(done.stdout)["publishes"]
    assert published["headers"] == {"at": "2024-05-01 12:30:00", "raw": "a\\xff", "deep": [{"k": "v", "n": 7}]}


def test_a_body_that_is_no_text_reaches_the_handler_byte_for_byte(attempt: Callable[..., Result]) -> None:
    done = attempt("table", "--body", os.fsdecode(b"a\xff"))
    assert done.stdout.splitlines()[1] == "would publish to labels: a\\xff"


def test_an_error_with_half_a_surrogate_pair_is_told_like_any_other(attempt: Callable[..., Result]) -> None:
    done = attempt("surrogate", "--body", "x")
    assert (done.exit_code, done.stdout) == (
        1,
        "raised ValueError: half a pair: \\ud83d, which would be retried\n",
    )
    assert done.stderr.endswith("ValueError: half a pair: \\ud83d\n")
    assert json.loads(attempt("surrogate", "--json", "--body", "x").stdout)["error"] == (
        "ValueError: half a pair: \\ud83d"
    )


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


def test_what_a_handler_returns_to_be_awaited_is_awaited_in_its_context(attempt: Callable[..., Result]) -> None:
    done = attempt("wrapped", "--body", "x")
    assert (done.exit_code, done.stdout.splitlines()[1:]) == (0, ["would publish to labels: the wrapper"])


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
STRAY = "raised ValueError: this deployment has no topic 'label' to publish to: did you mean labels?"
STRAY += ", which would be retried"
NOWHERE = "raised ValueError: the topic to publish to is None: it must be text, which would be retried"


@pytest.mark.parametrize(
    ("handler", "words", "sentence", "outcome"),
    [
        ("broken", [], "raised ValueError: the database is away, which would be retried", "retry"),
        ("broken", [LAST], "raised ValueError: the database is away, which would be dead-lettered", "dead_letter"),
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
    attempt: Callable[..., Result], handler: str, words: list[str], sentence: str, outcome: str
) -> None:
    done = attempt(handler, "--body", '{"n": -1}', *words)
    assert done.exit_code == 1
    assert done.stdout == f"{sentence}\n"
    first, frame, *_ = done.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert f"in {handler}" in frame, "the first frame is the handler's"
    answer = json.loads(attempt(handler, "--json", "--body", '{"n": -1}', *words).stdout)
    assert (answer["outcome"], answer["publishes"]) == (outcome, [])


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
    ],
    ids=lambda part: " ".join(part)[:30] if isinstance(part, list) else "",
)
def test_mistakes_are_answered_in_one_sentence(arguments: list[str], code: int, sentence: str) -> None:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_secrets_of_options_are_not_in_what_the_handler_raised(
    attempt: Callable[..., Result], more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSN", "db://app:canary1@h")
    monkeypatch.setenv("PW", "canary2")
    options = "topics.orders.options={dsn: '${oc.env:DSN}', password: '${oc.env:PW}'}"
    done = attempt("Telling", options, "--body", "x", *more)
    assert "cannot reach *** with ***" in done.output
    assert "cannot leave *** with ***" in done.output
    assert "canary" not in done.output
    assert done.exit_code == 1


def test_an_error_that_no_traceback_can_be_made_of_is_told_in_a_sentence(attempt: Callable[..., Result]) -> None:
    done = attempt("odd", "--body", "x")
    assert (done.exit_code, "raised SyntaxError: bad" in done.stdout) == (1, True)
