"""What else a handler has returned when some of it fails or takes too long: that does not go on beside the retry."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.outcome import Retry
from tests.support.ledger import until
from tests.support.slot_rig import Rig
from tests.unit.worker.test_time_limits import FAR_S, WRAPS, Watched, Wrap


async def fails() -> None:
    raise RuntimeError("the database is away")


def function() -> None: ...


FAILURES: dict[str, Callable[[], Any]] = {
    "a task that fails": lambda: asyncio.create_task(fails()),
    "a coroutine that fails": fails,
    "what is refused": lambda: function,
}


async def sleeps() -> None:
    await asyncio.sleep(FAR_S)


OWN: dict[str, Callable[[], Any]] = {
    "a task": lambda: asyncio.create_task(sleeps()),
    "a group of tasks": lambda: asyncio.gather(sleeps(), sleeps()),
}


@WRAPS
@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
def test_where_one_fails_the_others_are_cancelled(make: Callable[[], Any], fail: Callable[[], Any], wrap: Wrap) -> None:
    others: list[Any] = []

    async def handler(_message: Message) -> Any:
        others.append(make())
        return [fail(), *others]

    (outcome,) = Rig(wrap(handler)).handle(b"a")
    assert isinstance(outcome, Retry)
    until(others[0].done, "nobody waits for it any more")
    with pytest.raises(asyncio.CancelledError):
        others[0].result()


@WRAPS
def test_all_that_a_handler_returned_is_cancelled_when_it_takes_too_long(wrap: Wrap) -> None:
    own: list[asyncio.Task[None]] = []

    async def handler(_message: Message) -> Any:
        own.extend(asyncio.create_task(sleeps()) for _ in range(3))
        return own

    assert Watched(wrap(handler)).outcome(b"slow").reason == "timeout"
    for task in own:
        until(task.cancelled, "nobody waits for it any more")


@WRAPS
def test_coroutines_that_have_not_begun_never_do_and_nobody_is_warned_of_them(wrap: Wrap) -> None:
    async def handler(_message: Message) -> Any:
        return [fails(), sleeps(), {"rows": sleeps()}]

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        (outcome,) = Rig(wrap(handler)).handle(b"a")
    assert isinstance(outcome, Retry)
    assert [str(each.message) for each in warned] == []


@WRAPS
def test_what_others_may_wait_for_goes_on(wrap: Wrap) -> None:
    shared: list[Any] = []

    async def handler(message: Message) -> Any:
        if message.body == b"makes them":
            future = asyncio.get_running_loop().create_future()
            shared.extend([asyncio.create_task(sleeps()), future, Future()])
            return None
        return [fails(), *shared]

    made = Rig(wrap(handler))
    assert made.handle(b"makes them") == [None]
    (outcome,) = made.handle(b"a")
    assert isinstance(outcome, Retry)
    assert made.handle(b"makes them") == [None]  # the event loop has been around
    assert not any(each.done() for each in shared[:3])


def test_the_task_of_the_handler_itself_handles_the_next_message() -> None:
    async def handler(message: Message) -> Any:
        await asyncio.sleep(0)
        return [fails(), asyncio.current_task()] if message.body == b"fails" else None

    outcome, *fine = Rig(handler).handle(b"fails", b"a", b"b")
    assert isinstance(outcome, Retry)
    assert outcome.error == "RuntimeError: the database is away"
    assert fine == [None, None]
