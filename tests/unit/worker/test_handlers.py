from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hermes_ray import Message
from hermes_ray.config import option_secrets
from hermes_ray.errors import OperationFailed
from hermes_ray.logs import flush
from hermes_ray.worker.handlers import import_from, load_handler, run_close

HERE = __name__
not_callable = {"a": 1}


def sync_handler(message: Message) -> None: ...


async def async_handler(message: Message) -> None: ...


def no_parameter() -> None: ...


def generator_handler(message: Message) -> Iterator[int]:
    yield 1


async def async_generator_handler(message: Message) -> AsyncIterator[int]:
    yield 1


bound = partial(async_handler)


class Built:
    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, **options: Any) -> None:
        if options.get("fail"):
            raise RuntimeError("no database")
        self.made.append(options)
        self.closed = threading.Event()

    def __call__(self, message: Message) -> None: ...

    def close(self) -> None:
        self.closed.set()


class BuiltAsync(Built):
    async def __call__(self, message: Message) -> None: ...  # type: ignore[override]

    async def close(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.closed.set()


built = BuiltAsync()


class Yields:
    def __call__(self, message: Message) -> Iterator[int]:
        yield 1


class Telling:
    def __init__(self, dsn: str, password: str) -> None:
        self.dsn, self.password = dsn, password

    def __call__(self, message: Message) -> None: ...

    def close(self) -> None:
        raise RuntimeError(f"cannot leave {self.dsn} with {self.password}")


class TellingCause:
    def __init__(self, dsn: str, password: str) -> None:
        try:
            raise ValueError(f"cannot parse {dsn} with {password}")
        except ValueError as error:
            raise RuntimeError("no connection") from error

    def __call__(self, message: Message) -> None: ...


class Mute(Exception):
    def __str__(self) -> str:
        raise AttributeError("no words")


class Unsaid:
    def __init__(self, password: str) -> None:
        try:
            raise ValueError(f"cannot log in with {password}")
        except ValueError as error:
            raise Mute from error

    def __call__(self, message: Message) -> None: ...


class NoCall: ...


class Exits:
    def __init__(self) -> None:
        sys.exit("cannot go on")

    def __call__(self, message: Message) -> None: ...


class Holder:
    @staticmethod
    def inner(message: Message) -> None: ...


@pytest.mark.parametrize(
    ("name", "is_async", "concurrency"),
    [
        ("sync_handler", False, 4),
        ("async_handler", True, 32),
        ("bound", True, 32),
        ("Built", False, 4),
        ("BuiltAsync", True, 32),
        ("built", True, 32),
        ("Holder.inner", False, 4),
    ],
)
def test_the_kind_of_a_handler_and_its_default_slots_follow_from_its_code(
    name: str, is_async: bool, concurrency: int
) -> None:
    handler = load_handler(f"{HERE}:{name}", {})
    assert (handler.is_async, handler.default_concurrency) == (is_async, concurrency)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("generator_handler", {}, "has a yield, so calling it would do nothing"),
        ("async_generator_handler", {}, "has a yield, so calling it would do nothing"),
        ("Yields", {}, "has a yield, so calling it would do nothing"),
        ("no_parameter", {}, "cannot be called with one argument, the message"),
        ("NoCall", {}, "is a class without __call__"),
        ("not_callable", {}, "is a dict: name a function or a class"),
        ("nowhere", {}, "cannot be imported: AttributeError: .* has no attribute 'nowhere'"),
        ("sync_handler", {"a": 1}, "is a function: options are for a class"),
        ("Built", {"fail": True}, "cannot be built: RuntimeError: no database"),
        ("NoCall", {"a": 1}, "is a class without __call__"),
        ("Exits", {}, "cannot be built: SystemExit: cannot go on"),
        ("Holder.outer", {}, "cannot be imported: AttributeError"),
    ],
)
def test_a_handler_that_cannot_work_is_refused_with_a_sentence(
    name: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(OperationFailed, match=f"^handler {HERE}:{name} .*{sentence}"):
        load_handler(f"{HERE}:{name}", options)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def f(:", "SyntaxError"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_whatever_stops_an_import_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, sentence: str
) -> None:
    (tmp_path / "broken_handler.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_handler", raising=False)
    with pytest.raises(OperationFailed, match=f"handler broken_handler:f cannot be imported: {sentence}"):
        load_handler("broken_handler:f", {})


def test_handlers_are_found_in_the_paths_given_first_path_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, value in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "found_handler.py").write_text(f"which = {value}\ndef f(message): return which\n")
    before = len(sys.path)
    paths = [str(tmp_path / name) for name in ("one", "two", "gone")]
    import_from(paths)
    import_from(paths)
    assert sys.path[:2] == paths[:2]
    assert len(sys.path) == before + 2
    assert load_handler("found_handler:f", {}).call(Message(b"")) == 1
    monkeypatch.delitem(sys.modules, "found_handler")


def test_a_class_is_built_once_with_its_options() -> None:
    Built.made.clear()
    handler = load_handler(f"{HERE}:Built", {"url": "db://", "size": 3})
    handler.call(Message(b""))
    handler.call(Message(b""))
    assert Built.made == [{"url": "db://", "size": 3}]


def test_close_is_called_and_an_async_one_is_run_by_the_caller() -> None:
    for name in ("Built", "BuiltAsync"):
        handler = load_handler(f"{HERE}:{name}", {})
        run_close(handler, asyncio.run, timeout_s=20)
        assert handler.call.closed.is_set()  # type: ignore[attr-defined]


def test_closing_a_function_or_a_class_without_close_does_nothing() -> None:
    for name in ("sync_handler", "Holder.inner"):
        run_close(load_handler(f"{HERE}:{name}", {}), pytest.fail, timeout_s=20)


@pytest.mark.parametrize("words", ["401 for token=", "refused: Bearer ", "login failed, password="])
def test_a_long_secret_at_the_beginning_leaves_the_words_before_it(words: str) -> None:
    handler = load_handler(f"{HERE}:Built", {"password": "canary" * 9})
    said = handler.sentence_of(ValueError(words + "k" * 20_000))
    assert said == f"ValueError: {words}***"


def test_half_a_secret_at_the_cut_is_not_told_behind_one_that_is_hidden() -> None:
    handler = load_handler(f"{HERE}:Built", {"password": "canary" * 99})
    text = f"token={'k' * 9_000}, host=h " + "x" * 2_900 + "canary" * 99
    said = handler.shown(text + "y" * 20_000)
    assert said.startswith("token=***")
    assert "canary" not in said


def test_a_close_that_hangs_is_left_behind() -> None:
    release = threading.Event()
    handler = load_handler(f"{HERE}:Built", {})
    object.__setattr__(handler, "close", lambda: release.wait(20))
    run_close(handler, pytest.fail, timeout_s=0.05)
    assert not release.is_set()
    release.set()


def test_a_close_that_raises_is_told_in_a_line_without_its_options_secrets(caplog: pytest.LogCaptureFixture) -> None:
    handler = load_handler(f"{HERE}:Telling", {"dsn": "postgres://app:canary1@db/x", "password": "canary2"})
    run_close(handler, pytest.fail, timeout_s=20)
    flush(within_s=20)
    (told,) = caplog.messages
    assert told == (f"the close of {HERE}:Telling raised RuntimeError: cannot leave postgres://app:***@db/x with ***")
    assert caplog.records[0].exc_info is None


def test_what_led_to_a_handler_that_cannot_be_built_is_not_shown_where_it_has_a_secret() -> None:
    options = {"dsn": "postgres//app:canary1@db", "password": "canary2"}
    with pytest.raises(OperationFailed, match="no connection") as raised:
        load_handler(f"{HERE}:TellingCause", options)
    assert "canary" not in "".join(traceback.format_exception(raised.value))


def test_an_error_without_words_is_told_by_its_name() -> None:
    handler = load_handler(f"{HERE}:sync_handler", {})
    assert [handler.sentence_of(error) for error in (AssertionError(), KeyError())] == ["AssertionError", "KeyError"]
    options = {"password": "canary"}
    with pytest.raises(OperationFailed, match=r"Unsaid cannot be built: Mute$") as raised:
        load_handler(f"{HERE}:Unsaid", options)
    assert "canary" not in "".join(traceback.format_exception(raised.value))


def test_what_an_import_tells_of_the_environment_has_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tells_at_import.py").write_text(
        "import os\nraise ConnectionError(f\"cannot connect to {os.environ['DATABASE_URL']}\")\n"
    )
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:canary@db/x")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(OperationFailed, match=r"cannot connect to postgresql://app:\*\*\*@db/x") as raised:
        load_handler("tells_at_import:f", {})
    assert "canary" not in "".join(traceback.format_exception(raised.value))


def test_the_secrets_among_options_are_found_once_for_many_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option of 100 kB took 0.3 s each time, in which the event loop stood still."""
    found: list[object] = []
    find = option_secrets._all_forms

    def finds(options: object) -> set[str]:
        found.append(options)
        return find(options)

    monkeypatch.setattr(option_secrets, "_all_forms", finds)
    options = {"dsn": "postgres://app:canary1@db/x", "password": "canary2"}
    handler = load_handler(f"{HERE}:Telling", options)
    assert found == [options], "when it is loaded, not at a failure"
    for number in range(20):
        error = RuntimeError(f"{number}: canary1, canary2 {'x' * 9_000}")
        assert "canary" not in handler.sentence_of(error) + handler.trace_of(error)
    assert found == [options]
