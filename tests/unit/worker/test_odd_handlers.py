"""Handlers that leave their slot, their thread or the log in a bad way: the next message is handled all the same."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import gc
import logging
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hermes_ray import Message, PermanentError
from hermes_ray.outcome import DeadLetter, Retry
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.slot import failure
from tests.support.ledger import until
from tests.support.slot_rig import Function, Rig, is_kept
from tests.unit.worker.test_time_limits import WRAPS, Watched, Wrap


def exit_now(_it: Any) -> Any:
    raise SystemExit(3)


Nameless = type("Nameless", (type,), {"__name__": property(exit_now)})
WithoutName = Nameless("WithoutName", (Exception,), {})
WithOddNotes = type("WithOddNotes", (Exception,), {"__notes__": property(exit_now)})
WithoutClass = type("WithoutClass", (Exception,), {"__class__": property(exit_now)})


def nested(levels: int) -> Exception:
    """A group of two that are one, which is a group of two..."""
    error: Exception = ValueError("x")
    for _ in range(levels):
        error = ExceptionGroup("g", [error, error])
    return error


ODD = {"no name": WithoutName, "odd notes": WithOddNotes, "no class": WithoutClass, "shared groups": lambda: nested(22)}


def as_kind(kind: str, function: Function) -> Function:
    async def handler(message: Message) -> Any:
        return function(message)

    return handler if kind == "async" else function


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@KINDS
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_an_error_of_any_make_fails_its_message_and_no_other(kind: str, make: Callable[[], Exception]) -> None:
    error = make()

    def handler(message: Message) -> None:
        if message.body == b"bad":
            raise error

    bad, good = Rig(as_kind(kind, handler)).handle(b"bad", b"good")
    assert isinstance(bad, Retry)
    assert good is None


def test_errors_that_are_grouped_again_and_again_are_counted_to_a_bound() -> None:
    """Those of all levels would be a million: a worker has neither the time nor the memory."""
    error, handler = nested(19), Handler(call=lambda _message: None, is_async=False, close=lambda: None)
    tracemalloc.start()
    try:
        assert isinstance(failure(error, handler), Retry)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2_000_000


@KINDS
def test_an_error_that_is_raised_again_and_again_keeps_no_message(kind: str) -> None:
    error = PermanentError("no such player")

    def handler(_message: Message) -> None:
        raise error

    outcomes = Rig(as_kind(kind, handler)).handle(*[b""] * 50)
    assert all(isinstance(outcome, DeadLetter) for outcome in outcomes)
    assert error.__traceback__ is None


class Result:
    """What a handler may return."""


@KINDS
def test_an_idle_slot_keeps_nothing_of_its_last_message(kind: str) -> None:
    kept: list[weakref.ref[Any]] = []

    def handler(message: Message) -> Any:
        result = Result()
        kept.append(weakref.ref(result))
        return result

    made = Watched(as_kind(kind, handler))
    assert made.handle(b"the last one") == [None]
    until(lambda: not is_kept(b"the last one") and kept[0]() is None, "it is forgotten")


def test_an_exception_that_comes_late_for_a_slots_thread_ends_no_slot() -> None:
    """As some libraries of time-outs raise it in the thread, when their handler has just returned."""

    def handler(message: Message) -> None:
        if message.body == b"late":
            thread, error = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(TimeoutError)
            raises = ctypes.pythonapi.PyThreadState_SetAsyncExc
            threading.Timer(0.05, raises, (thread, error)).start()

    made = Rig(handler, concurrency=2)
    for _ in range(5):
        made.handle(b"late")
        time.sleep(0.1)  # until it is raised, in a thread that waits
        assert made.handle(b"a", b"b", b"c") == [None] * 3


@pytest.fixture
def log_server() -> Iterator[dict[str, Any]]:
    """A handler of the log that does what a test says with a record."""
    does: dict[str, Any] = {}

    class ToServer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            does["emit"](record)

    handler = ToServer()
    logging.getLogger().addHandler(handler)
    yield does
    logging.getLogger().removeHandler(handler)


def test_a_handler_that_hangs_in_the_log_is_counted_out_and_so_are_others(
    log_server: dict[str, Any], gate: threading.Event
) -> None:
    log_server["emit"] = lambda record: gate.wait(60) if record.name == "users" else None

    def handler(message: Message) -> None:
        if message.body == b"logs":
            logging.getLogger("users").warning("to a server that is away")
        gate.wait(60)

    outcomes = Watched(handler, concurrency=2).handle(b"logs", b"hangs")
    assert all(isinstance(outcome, Retry) and outcome.reason == "timeout" for outcome in outcomes)


def test_a_log_that_raises_keeps_nobody_from_being_counted_out(
    log_server: dict[str, Any], gate: threading.Event
) -> None:
    def refuse(_record: logging.LogRecord) -> None:
        raise RuntimeError("the log server is away")

    log_server["emit"] = refuse
    made = Watched(lambda _message: gate.wait(60), concurrency=2)
    assert all(isinstance(outcome, Retry) for outcome in made.handle(b"a", b"b"))
    until(lambda: len(made.replaced) == 2, "their worker is to be replaced")


@WRAPS
@pytest.mark.parametrize("error", [SystemExit, ValueError])
def test_what_tasks_left_behind_raise_is_told_without_the_secrets_of_the_options(
    caplog: pytest.LogCaptureFixture, wrap: Wrap, error: type[BaseException]
) -> None:
    async def leave() -> None:
        raise error("no database at db://app:canary@h")

    async def handler(_message: Message) -> None:
        await asyncio.wait([asyncio.create_task(leave())])

    Rig(wrap(handler), options={"dsn": "db://app:canary@h", "password": "canary"}).put(b"a")
    until(lambda: gc.collect() >= 0 and "never retrieved" in caplog.text, "it is told")
    assert f"{error.__name__}: no database at db://app:***@h" in caplog.text
    assert "canary" not in caplog.text
    assert "in leave" in caplog.text, "with its place"


@pytest.mark.parametrize("error", [RuntimeError("the log server is away"), SystemExit(3)])
def test_a_log_that_raises_ends_no_event_loop(log_server: dict[str, Any], error: BaseException) -> None:
    refused: list[logging.LogRecord] = []

    def refuse(record: logging.LogRecord) -> None:
        refused.append(record)
        raise error

    async def leave() -> None:
        raise SystemExit(3)

    async def handler(_message: Message) -> None:
        await asyncio.wait([asyncio.create_task(leave())])

    log_server["emit"] = refuse
    made = Rig(handler)
    assert made.handle(b"a", b"b", b"c") == [None] * 3
    assert refused


@dataclasses.dataclass(frozen=True)
class Frozen(PermanentError):
    player: int


@KINDS
def test_an_error_that_takes_no_attributes_is_what_it_is(kind: str) -> None:
    def handler(_message: Message) -> None:
        raise Frozen(7)

    (outcome,) = Rig(as_kind(kind, handler)).handle(b"a")
    assert isinstance(outcome, DeadLetter)
    assert (outcome.reason, outcome.error) == ("permanent", "Frozen: 7")


def test_equal_publishes_of_several_threads_are_messages_of_their_own(frequent_switches: None) -> None:
    message = Message(b"", id="m")

    def publish() -> None:
        for _ in range(50):
            message.publish("t", b"x")

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({publish.id for publish in message.publishes}) == 200


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # a file that one keeps from being closed
def test_slots_that_stray_exceptions_end_begin_anew(frequent_switches: None) -> None:
    """At any place between two messages: those that come later are handled, and the worker is to be replaced."""
    before = set(threading.enumerate())
    all_run = threading.Barrier(4)
    made = Rig(lambda message: all_run.wait(60) if message.body == b"first" else message.body, concurrency=4)
    assert made.handle(*[b"first"] * 4) == [None] * 4  # before that a thread is Python's own to begin
    threads = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("slot")]
    for n in range(50):
        raises, thread = ctypes.pythonapi.PyThreadState_SetAsyncExc, threads[n % len(threads)]
        raises(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeoutError))
        made.put(*[b"x"] * 20)
        time.sleep(0.002)  # for it to be raised at another place each time
    time.sleep(0.1)
    assert made.handle(*[b"y"] * 50) == [None] * 50
    assert made.slots.is_worn(0.0)
