"""Handlers that leave their slot, their thread or the log in a bad way: the next message is handled all the same."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import gc
import logging
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from hermes_ray import Message, PermanentError
from hermes_ray.outcome import DeadLetter, Retry
from hermes_ray.worker import loop_blocks, slot_task, time_limits
from hermes_ray.worker.loop_slots import LoopSlots
from tests.support.ledger import until
from tests.support.slot_rig import Function, Rig
from tests.unit.worker.test_time_limits import WRAPS, Watched, Wrap, gate

__all__ = ["gate"]


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


def is_kept(body: bytes) -> bool:
    """Whether a message with ``body`` is still there."""
    gc.collect()
    return any(issubclass(type(each), Message) and each.body == body for each in gc.get_objects())


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
def test_who_waits_while_another_keeps_the_event_loop_is_not_charged_for_it(
    monkeypatch: pytest.MonkeyPatch, wrap: Wrap
) -> None:
    monkeypatch.setattr(time_limits, "CANCEL_S", 0.1)

    async def handler(message: Message) -> None:
        await asyncio.sleep(0.1)
        if message.body == b"blocks":
            block(2.0)

    made = Watched(wrap(handler), timeout_s=0.5, concurrency=4)
    *others, blocks = made.handle(b"a", b"b", b"c", b"blocks")
    assert others == [None] * 3
    assert isinstance(blocks, Retry)
    assert "block(2.0)" in blocks.traceback


@WRAPS
def test_threads_that_cancelled_handlers_leave_behind_let_others_work_and_their_worker_is_replaced(
    monkeypatch: pytest.MonkeyPatch, gate: threading.Event, wrap: Wrap
) -> None:
    monkeypatch.setattr(time_limits, "CANCEL_S", 0.1)

    async def handler(message: Message) -> None:
        await asyncio.to_thread(gate.wait, 60 if message.body == b"hangs" else 0)

    made = Watched(wrap(handler), concurrency=16, timeout_s=0.3)
    assert all(isinstance(outcome, Retry) for outcome in made.handle(*[b"hangs"] * 8))
    assert made.handle(*[b"good"] * 20) == [None] * 20
    until(lambda: made.replaced, "it is to be replaced")


@WRAPS
def test_handlers_that_each_use_a_thread_have_one_each(wrap: Wrap) -> None:
    together = threading.Barrier(32)

    async def handler(_message: Message) -> None:
        await asyncio.to_thread(together.wait, 20)

    assert Rig(wrap(handler), concurrency=32).handle(*[b""] * 32) == [None] * 32


@WRAPS
def test_jobs_that_handlers_leave_to_threads_wear_the_worker_only_where_they_last(
    monkeypatch: pytest.MonkeyPatch, gate: threading.Event, wrap: Wrap
) -> None:
    async def handler(_message: Message) -> None:
        asyncio.get_running_loop().run_in_executor(None, gate.wait, 60)

    made = Rig(wrap(handler), concurrency=4)
    made.handle(*[b""] * 40)
    assert not made.slots.is_worn(time.monotonic())
    monkeypatch.setattr(slot_task, "_LASTING_S", 0.2)
    until(lambda: made.slots.is_worn(time.monotonic()), "its threads do not come back")


@WRAPS
def test_no_handler_ends_the_threads_of_the_others(wrap: Wrap) -> None:
    async def handler(message: Message) -> None:
        if message.body == b"tidies up":
            await asyncio.get_running_loop().shutdown_default_executor()
        await asyncio.to_thread(time.sleep, 0)

    assert Rig(wrap(handler)).handle(b"tidies up", b"a") == [None] * 2


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


def test_what_is_to_be_called_when_a_handlers_task_is_done_is_called_after_its_message_and_forgotten() -> None:
    called: list[Any] = []

    async def handler(message: Message) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: called.append(message.body))
        task.add_done_callback(called.append)
        assert task.remove_done_callback(called.append) == 1
        await asyncio.sleep(0.01)
        assert message.body not in called

    made = Rig(handler, concurrency=2)
    assert made.handle(b"one", b"two", b"three") == [None] * 3
    until(lambda: sorted(called) == [b"one", b"three", b"two"], "each was called once")
    until(lambda: not any(map(is_kept, called)), "they are forgotten")


async def plainly(task: asyncio.Task[Any]) -> None:
    await asyncio.wait([task])
    await task


@pytest.mark.parametrize("is_late", [False, True], ids=["while it is handled", "when it is over"])
@pytest.mark.parametrize("waits", [plainly, asyncio.gather, asyncio.shield, lambda task: asyncio.wait_for(task, 60)])
def test_who_waits_for_the_task_of_another_message_waits_for_that_message(waits: Any, is_late: bool) -> None:
    tasks: dict[bytes, asyncio.Task[Any]] = {}
    is_waited_for = asyncio.Event()

    async def handler(message: Message) -> None:
        if message.body == b"waits":
            is_waited_for.set()
            await waits(tasks[b"first"])
        else:
            tasks[message.body] = asyncio.current_task()  # type: ignore[assignment]
            await (asyncio.sleep(0) if is_late else is_waited_for.wait())

    made = Rig(handler, concurrency=2)
    first = made.put(b"first")
    until(lambda: tasks, "it has begun")
    if is_late:
        until(lambda: first[0] in made.outcomes, "it is over")
    assert made.handle(b"waits") == [None]


def test_those_who_wait_for_each_others_messages_cancel_nobody() -> None:
    """As those do that have the same key in hand."""
    in_hand: dict[bytes, asyncio.Task[Any]] = {}

    async def handler(message: Message) -> None:
        if message.body in in_hand:
            await asyncio.wait_for(in_hand[message.body], 30)
            return
        in_hand[message.body] = asyncio.current_task()  # type: ignore[assignment]
        await asyncio.sleep(0.001)
        del in_hand[message.body]

    assert Rig(handler, concurrency=8).handle(*[b"%d" % (n // 2) for n in range(400)]) == [None] * 400


def test_a_service_that_a_message_has_started_is_no_thread_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_task, "_LASTING_S", 0.05)
    services: list[asyncio.Task[None]] = []

    async def serve() -> None:
        while True:
            await asyncio.to_thread(time.sleep, 0.01)

    async def handler(_message: Message) -> None:
        if not services:
            services.extend(asyncio.create_task(serve()) for _ in range(16))
        await asyncio.sleep(0.001)

    made = Rig(handler, concurrency=4)
    deadline_s = time.monotonic() + 0.4
    while time.monotonic() < deadline_s:
        made.handle(*[b"x"] * 8)
        assert not made.slots.is_worn(time.monotonic())


def test_who_tidies_the_event_loop_ends_no_generator_of_others() -> None:
    seen: list[int] = []

    async def rows() -> AsyncIterator[int]:
        for n in range(5):
            yield n

    async def handler(message: Message) -> None:
        if message.body == b"tidies":
            await asyncio.get_running_loop().shutdown_asyncgens()
            return
        async for row in rows():
            seen.append(row)
            await asyncio.sleep(0.01)

    assert Rig(handler, concurrency=2).handle(b"reads", b"tidies") == [None, None]
    assert seen == list(range(5))


def test_what_was_to_become_of_a_message_becomes_of_no_later_one() -> None:
    async def handler(_message: Message) -> None: ...

    made = Rig(handler)
    slots, slot = made.slots, made.slots.slots[0]
    assert isinstance(slots, LoopSlots)
    until(lambda: len(slots._idle) == 1, "it is idle")
    slots._shared._interrupted[slot] = Retry(error="too late", traceback=""), slot_task.Asker(slot)
    slots._loop.call_soon_threadsafe(slots._idle[0].set_exception, RuntimeError("left behind"))
    until(lambda: made.slots.is_worn(time.monotonic()), "its task ends and begins anew")
    assert made.handle(b"a") == [None]


def test_a_control_message_may_cancel_the_task_of_another() -> None:
    tasks: dict[bytes, asyncio.Task[Any] | None] = {}
    is_there = asyncio.Event()

    async def handler(message: Message) -> None:
        tasks[message.body] = asyncio.current_task()
        if message.body == b"work":
            is_there.set()
            await asyncio.sleep(60)
        await asyncio.wait_for(is_there.wait(), 20)
        task = tasks[b"work"]
        assert task is not None
        task.cancel()

    work, stop = Rig(handler, concurrency=2).handle(b"work", b"stop")
    assert isinstance(work, Retry)
    assert stop is None


@pytest.mark.parametrize("is_first_long", [True, False], ids=["after another", "alone"])
def test_who_hangs_in_the_event_loop_is_counted_out_whoever_kept_it_before(
    monkeypatch: pytest.MonkeyPatch, gate: threading.Event, is_first_long: bool
) -> None:
    monkeypatch.setattr(time_limits, "CANCEL_S", 0.1)
    together = asyncio.Event()

    async def handler(message: Message) -> None:
        if message.body == b"opens":
            together.set()
            return
        await together.wait()
        if message.body == b"first" and is_first_long:
            block(0.4)
        if message.body == b"hangs":
            gate.wait(60)

    made = Watched(handler, timeout_s=1.0, concurrency=4)
    first, hangs = made.put(b"first", b"hangs")
    until(lambda: made.slots.figures().running_count == 2, "both wait")
    made.put(b"opens")
    until(lambda: hangs in made.outcomes, "it is counted out")
    assert isinstance(made.outcomes[hangs], Retry)
    gate.set()
    until(lambda: first in made.outcomes, "the other goes on")
    assert made.outcomes[first] is None


def block(seconds: float) -> None:
    time.sleep(seconds)


def test_a_task_that_keeps_the_event_loop_charges_its_own_message_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limits, "CANCEL_S", 0.1)
    monkeypatch.setattr(loop_blocks, "_HUNG_S", 0.3)

    async def blocks() -> None:
        block(1.5)

    async def handler(message: Message) -> None:
        if message.body == b"starts":
            await asyncio.wait_for(blocks(), 60)
        await asyncio.sleep(0.3)

    made = Watched(handler, timeout_s=1.0, concurrency=4)
    first, starts, *others = made.handle(b"a", b"starts", b"b", b"c")
    assert [first, *others] == [None] * 3
    assert isinstance(starts, Retry)
    assert "block(1.5)" in starts.traceback


def test_a_callback_that_keeps_the_event_loop_charges_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limits, "CANCEL_S", 0.1)

    async def handler(message: Message) -> None:
        if message.body == b"starts":
            asyncio.get_running_loop().call_soon(block, 1.5)
        await asyncio.sleep(0.3)

    made = Watched(handler, timeout_s=1.0, concurrency=4)
    assert made.handle(b"a", b"starts", b"b", b"c") == [None] * 4
    assert not made.replaced


def spin(seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        pass


def test_a_message_is_taken_while_others_only_let_each_other_by() -> None:
    is_over = threading.Event()

    async def handler(message: Message) -> None:
        while message.body == b"polls" and not is_over.is_set():
            spin(0.001)
            await asyncio.sleep(0)

    made = Rig(handler, concurrency=32)
    made.put(*[b"polls"] * 12)
    until(lambda: made.slots.figures().running_count == 12, "they poll")
    assert made.handle(b"a", b"b", b"c") == [None] * 3
    is_over.set()


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


class Pool:
    """What is awaited to be opened, and is itself what comes of it."""

    def __await__(self) -> Generator[Any, None, Pool]:
        yield from asyncio.sleep(0).__await__()
        return self


LARGE: list[Any] = [0] * 1_000_000
NESTED: list[Any] = []
NESTED.append(NESTED)


@KINDS
@pytest.mark.parametrize("result", [Pool(), LARGE, NESTED], ids=["a pool", "many rows", "a list in itself"])
def test_what_a_handler_returns_does_not_matter(kind: str, result: Any) -> None:
    assert Rig(as_kind(kind, lambda _message: result)).handle(b"a", b"b") == [None] * 2


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Threads take turns all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


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
    made = Rig(lambda message: message.body, concurrency=4)
    threads = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("slot")]
    for n in range(50):
        raises, thread = ctypes.pythonapi.PyThreadState_SetAsyncExc, threads[n % len(threads)]
        raises(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeoutError))
        made.put(*[b"x"] * 20)
        time.sleep(0.002)  # for it to be raised at another place each time
    time.sleep(0.1)
    assert made.handle(*[b"y"] * 50) == [None] * 50
    assert made.slots.is_worn(0.0)
