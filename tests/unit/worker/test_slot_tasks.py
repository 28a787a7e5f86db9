"""The task of a slot: what others may do with it means the message that it handles, and no later one."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.outcome import Retry
from hermes_ray.worker import slot_task
from hermes_ray.worker.loop_slots import LoopSlots
from tests.support.ledger import until
from tests.support.slot_rig import Rig, is_kept


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


@pytest.mark.parametrize("context", [contextvars.Context(), None], ids=["of nobody's", "of the first message"])
def test_who_watches_over_messages_to_come_runs_in_a_context_of_nobodys(context: contextvars.Context | None) -> None:
    watched: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    watchers: list[asyncio.Task[None]] = []
    is_stopped: list[bool] = []
    has_asked = asyncio.Event()

    async def watch() -> None:
        is_stopped.append((await watched.get()).cancel())
        has_asked.set()

    async def handler(message: Message) -> None:
        if not watchers:
            watchers.append(asyncio.create_task(watch(), context=context))
            return
        task = asyncio.current_task()
        assert task is not None
        watched.put_nowait(task)
        await has_asked.wait()

    first, second = Rig(handler).handle(b"starts it", b"a")
    assert first is None
    assert is_stopped == [context is not None]
    assert isinstance(second, Retry) == is_stopped[0]
