"""What handlers return: work that has not been done yet is done, or refused, before their message is acked."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import itertools
import sqlite3
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.pool import ThreadPool
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from hermes_ray import Message, PermanentError
from hermes_ray.outcome import DeadLetter, Retry
from tests.support.slot_rig import Rig

POOL = ThreadPoolExecutor(1)
WORKERS = ThreadPool(1)
atexit.register(WORKERS.terminate)  # before what it needs to end is gone


class Work:
    """Notes that it has run, in one of the ways in which handlers pass work on; ``error`` is raised then."""

    def __init__(self, error: Exception | None = None) -> None:
        self.ran = threading.Event()
        self._error = error

    def run(self) -> None:
        self.ran.set()
        if self._error is not None:
            raise self._error

    async def later(self) -> None:
        await asyncio.sleep(0)
        self.run()

    async def twice(self) -> Awaitable[None]:
        return self.later()

    async def in_a_list(self) -> list[Any]:
        return [None, self.later()]


class Wanted:
    """What can be awaited, and is no coroutine."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __await__(self) -> Iterator[Any]:
        return self._work.later().__await__()


PASSED_ON: dict[str, Callable[[Work], Any]] = {
    "a coroutine": Work.later,
    "a coroutine that returns another": Work.twice,
    "a coroutine that returns a list of others": Work.in_a_list,
    "a list with a coroutine": lambda work: [None, work.later()],
    "a long list with a coroutine at its end": lambda work: [*[None] * 2_000, work.later()],
    "a dict with a coroutine": lambda work: {"store": work.later()},
    "the values of such a dict": lambda work: {"store": work.later()}.values(),
    "lists in lists": lambda work: [[1], [None, [work.later()]]],
    "a tuple in a set": lambda work: {(None, work.later())},
    "an object that can be awaited": Wanted,
    "the future of a pool": lambda work: POOL.submit(work.run),
    "a dict by futures of a pool": lambda work: {POOL.submit(work.run): "store"},
    "a frozen set of them": lambda work: frozenset([POOL.submit(work.run)]),
    "a deque of them": lambda work: deque([POOL.submit(work.run)]),
    "what a pool does one by one": lambda work: WORKERS.imap(Work.run, [work]),
    "what an executor does one by one": lambda work: POOL.map(Work.run, [work]),
    "what an executor does, as it is done": lambda work: as_completed([POOL.submit(work.run)]),
}
RUNS = pytest.mark.parametrize("passed_on", PASSED_ON.values(), ids=PASSED_ON)


def handler_of(kind: str, passed_on: Callable[[], Any]) -> Callable[[Message], Any]:
    async def handler(_message: Message) -> Any:
        if kind == "async, after a wait":
            await asyncio.sleep(0)
        return passed_on()

    return handler if kind.startswith("async") else lambda _message: passed_on()


KINDS = pytest.mark.parametrize("kind", ["sync", "async", "async, after a wait"])


@KINDS
@RUNS
def test_work_that_a_handler_passes_on_is_done_before_its_message_is(
    kind: str, passed_on: Callable[[Work], Any]
) -> None:
    works = [Work(), Work()]
    left = list(works)
    rig = Rig(handler_of(kind, lambda: passed_on(left.pop())))
    assert rig.handle(b"a", b"b") == [None, None]
    assert all(work.ran.is_set() for work in works)


@KINDS
@RUNS
def test_what_such_work_raises_fails_the_message(kind: str, passed_on: Callable[[Work], Any]) -> None:
    rig = Rig(handler_of(kind, lambda: passed_on(Work(RuntimeError("the database is away")))))
    (outcome,) = rig.handle(b"a")
    assert isinstance(outcome, Retry)
    assert outcome.error == "RuntimeError: the database is away"


def generator() -> Iterator[int]:
    yield 1


def exhausted() -> Iterator[int]:
    rows = generator()
    assert list(rows) == [1]
    return rows


async def async_generator() -> AsyncIterator[int]:
    yield 1


class Stream:
    """An async iterator that is no generator: a client's, which has sent its request."""

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> int:
        raise AssertionError("nobody asks for a row")


NEVER_RUN: dict[str, Callable[[], Any]] = {
    "a generator": generator,
    "an async generator": async_generator,
    "a context manager": contextlib.contextmanager(generator),
    "an async context manager": contextlib.asynccontextmanager(async_generator),
    "a map": lambda: map(abs, [1]),
    "a starmap": lambda: itertools.starmap(abs, [(1,)]),
    "an enumeration": lambda: enumerate([1]),
    "a function, as a decorator without its parentheses": lambda: generator,
    "a method": lambda: Work().run,
    "a method of a built-in type": lambda: [].clear,
    "a partial": lambda: functools.partial(abs, 1),
    "a function with a cache": lambda: functools.lru_cache(abs),
    "a list of functions": lambda: [generator],
    "a dict with a generator": lambda: {"rows": generator()},
}


@KINDS
@pytest.mark.parametrize("made", NEVER_RUN.values(), ids=NEVER_RUN)
def test_what_nobody_would_run_is_never_acked(kind: str, made: Callable[[], Any]) -> None:
    (outcome,) = Rig(handler_of(kind, made)).handle(b"a")
    assert isinstance(outcome, Retry)
    assert "of which nothing has run" in outcome.error


def test_tasks_as_they_are_completed_are_refused_with_what_to_do() -> None:
    async def handler(_message: Message) -> Any:
        return asyncio.as_completed([asyncio.create_task(Work().later())])

    (outcome,) = Rig(handler).handle(b"a")
    assert isinstance(outcome, Retry)
    assert outcome.error.endswith("what asyncio.as_completed gives, which nobody would await: return its tasks")


def test_what_has_never_run_is_told_with_what_to_do() -> None:
    def retrying(times: Any) -> Any:
        def decorate(function: Any) -> Any:
            def run(message: Message) -> Any:
                return function(message)

            return run

        return decorate

    @retrying
    def handler(_message: Message) -> None: ...

    (outcome,) = Rig(handler).handle(b"a")
    assert isinstance(outcome, Retry)
    assert "the handler returned a function, of which nothing has run: " in outcome.error
    assert "run; call it, or give the handler's decorator its parentheses" in outcome.error


def test_an_async_function_in_a_partial_is_awaited_in_a_slot_of_its_kind() -> None:
    async def handler(greeting: str, message: Message) -> None:
        await asyncio.sleep(0)
        raise PermanentError(greeting)

    (outcome,) = Rig(functools.partial(handler, "hello")).handle(b"a")
    assert isinstance(outcome, DeadLetter)
    assert outcome.error == "PermanentError: hello"


@pytest.mark.parametrize("depth", [1, 2, 1000])
@KINDS
def test_a_permanent_error_within_a_group_is_permanent(kind: str, depth: int) -> None:
    error: Exception = PermanentError("no such player")
    for _ in range(depth):
        error = ExceptionGroup("several", [ValueError("x"), error])

    def fail() -> None:
        raise error

    (outcome,) = Rig(handler_of(kind, fail)).handle(b"a")
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason == "permanent"


def test_an_exit_in_what_is_passed_on_fails_its_message_and_no_later_one() -> None:
    bad, good = Work(SystemExit(3)), Work()  # type: ignore[arg-type]
    left = [good, bad]
    outcome, fine = Rig(lambda _message: left.pop().later()).handle(b"a", b"b")
    assert isinstance(outcome, Retry)
    assert fine is None
    assert good.ran.is_set()


class Pool:
    """What is awaited to be opened, and is itself what comes of it."""

    def __init__(self) -> None:
        self.opened_count = 0

    def __await__(self) -> Generator[Any, None, Pool]:
        self.opened_count += 1
        yield from asyncio.sleep(0).__await__()
        return self


@KINDS
def test_a_pool_that_a_handler_opens_is_opened_once(kind: str) -> None:
    pool = Pool()
    assert Rig(handler_of(kind, lambda: pool)).handle(b"a") == [None]
    assert pool.opened_count == 1


def shared_tree() -> list[Any]:
    """A list of lists of lists..., with more values than could ever be looked at."""
    tree: list[Any] = [0]
    for _ in range(30):
        tree = [tree] * 10
    return tree


NESTED: list[Any] = []
NESTED.append(NESTED)
DATA: dict[str, Any] = {
    "many rows": [0] * 1_000_000,
    "a list in itself": NESTED,
    "a tree without an end": shared_tree(),
    "rows with text": [{"id": n, "name": "x"} for n in range(1_000)],
    "a cursor": sqlite3.connect(":memory:").execute("SELECT 1"),
    "an iterator over what is there": iter([1]),
    "a generator that has run": exhausted(),
    "an async iterator": Stream(),
    "a stream": asyncio.StreamReader(loop=asyncio.new_event_loop()),
    "a mock": MagicMock(),
    "an async mock": AsyncMock(),
}


@KINDS
@pytest.mark.parametrize("result", DATA.values(), ids=DATA)
def test_data_that_a_handler_returns_does_not_matter(kind: str, result: Any) -> None:
    assert Rig(handler_of(kind, lambda: result)).handle(b"a", b"b") == [None] * 2
