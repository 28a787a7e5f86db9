from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
from itertools import count
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.outcome import Done, Retry
from hermes_ray.worker.loop_slots import LoopSlots
from tests.support.deliveries import delivery
from tests.support.ledger import until
from tests.support.patience import PATIENCE
from tests.support.slot_rig import Rig

note: contextvars.ContextVar[str] = contextvars.ContextVar("note", default="clean")


def spin(seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        pass


STEPS = pytest.mark.parametrize("later", [False, True], ids=["in the first step", "in a later step"])


def test_context_variables_live_as_long_as_their_message_and_in_its_tasks() -> None:
    seen: list[tuple[str, str, str]] = []

    async def child() -> str:
        return note.get()

    async def look(message: Message) -> None:
        mine = message.body.decode()
        note.set(mine)
        await asyncio.sleep(0.01)
        seen.append((mine, note.get(), await asyncio.create_task(child())))

    Rig(look, concurrency=8).handle(*(b"%d" % n for n in range(8)))
    assert sorted(seen) == [(str(n), str(n), str(n)) for n in range(8)]


def test_a_task_left_behind_that_exits_ends_neither_the_loop_nor_its_slots() -> None:
    async def leave(_message: Message) -> None:
        sys.exit(3)

    async def start(message: Message) -> None:
        if message.body == b"exit":
            tasks.append(asyncio.create_task(leave(message)))
        await asyncio.sleep(0.01)

    tasks: list[asyncio.Task[None]] = []
    assert Rig(start, concurrency=1).handle(b"exit", b"next", b"last") == [None] * 3
    assert tasks[0].done()


def test_thirty_two_async_handlers_wait_at_once() -> None:
    arrived, all_here = count(1), asyncio.Event()

    async def meet(_message: Message) -> None:
        if next(arrived) == 32:
            all_here.set()
        await asyncio.wait_for(all_here.wait(), 20)

    assert Rig(meet, concurrency=32).handle(*[b""] * 32) == [None] * 32


@STEPS
def test_asyncio_timeout_works(later: bool) -> None:
    async def waits(message: Message) -> None:
        if later:
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            message.publish("timed out", b"")
        await asyncio.sleep(0)

    for outcome in Rig(waits).handle(b"", b""):
        assert isinstance(outcome, Done)
        assert outcome.publishes[0].topic == "timed out"


@STEPS
def test_wait_for_gather_and_task_groups_work(later: bool) -> None:
    async def child(value: int) -> int:
        await asyncio.sleep(0.001)
        if value == 3:
            raise LookupError("three")
        return value

    async def many(message: Message) -> None:
        if later:
            await asyncio.sleep(0)
        assert tuple(await asyncio.gather(child(1), child(2))) == (1, 2)
        assert await asyncio.wait_for(child(4), 20) == 4
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(60))
                group.create_task(child(3))
        assert caught.group_contains(LookupError)

    assert Rig(many, concurrency=2).handle(b"", b"", b"") == [None] * 3


def test_a_handler_that_has_its_slots_task_cancelled_fails_as_a_retry_and_the_slot_lives_on() -> None:
    async def cancelled(message: Message) -> None:
        if message.body == b"bad":
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
            await asyncio.sleep(60)

    bad, good = Rig(cancelled).handle(b"bad", b"good")
    assert isinstance(bad, Retry)
    assert bad.error.startswith("CancelledError")
    assert good is None


def test_a_slot_cancelled_while_idle_lives_on() -> None:
    async def handler(_message: Message) -> None: ...

    made = Rig(handler)
    made.handle(b"first")
    slots = made.slots
    assert isinstance(slots, LoopSlots)
    until(lambda: len(slots._idle) == 1, "the slot is idle")
    sleep = slots._idle[0]
    slots._loop.call_soon_threadsafe(slots._tasks[slots.slots[0]].cancel)
    until(sleep.cancelled, "its sleep is cancelled")
    assert made.handle(b"a", b"b") == [None, None]


def test_a_wake_up_that_meets_a_cancelled_sleeper_wakes_the_others() -> None:
    """Cancelled and woken in the same round of the loop: the sleeper is still listed when the wake-up comes."""
    together = asyncio.Event()
    entered: list[bytes] = []

    async def handler(message: Message) -> None:
        entered.append(message.body)
        if len(entered) == 2:
            together.set()
        await asyncio.wait_for(together.wait(), 20)

    made = Rig(handler, concurrency=2)
    slots = made.slots
    assert isinstance(slots, LoopSlots)
    until(lambda: len(slots._idle) == 2, "both slots are idle")

    def cancel_then_put() -> None:
        slots._tasks[slots.slots[0]].cancel()
        slots._buffer.extend(delivery(tag=tag) for tag in (101, 102))
        slots._wake()

    slots._loop.call_soon_threadsafe(cancel_then_put)
    until(lambda: len(made.outcomes) == 2, "both ran side by side")
    assert made.outcomes == {101: None, 102: None}


def test_after_a_stray_cancellation_the_next_message_finds_no_cancellation_requested() -> None:
    async def handler(message: Message) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0, "from Python 3.13 on a task group would cancel its task again"
        if message.body == b"stray":
            asyncio.get_running_loop().call_soon(task.cancel)
            await asyncio.sleep(60)

    stray, next_one = Rig(handler).handle(b"stray", b"")
    assert isinstance(stray, Retry)
    assert next_one is None


def test_a_handler_that_blocks_its_loop_holds_up_the_loop_but_nobody_else() -> None:
    entered, release = threading.Event(), threading.Event()

    async def blocks(message: Message) -> None:
        if message.body == b"block":
            entered.set()
            release.wait(20)

    made = Rig(blocks, concurrency=4)
    made.put(b"block")
    assert entered.wait(PATIENCE * 20)
    made.put(*[b""] * 10)
    totals = made.slots.figures()
    assert (totals.running_count, totals.runs.finished) == (1, 0)
    assert len(made.slots.take_back()) == 10, "what no handler has seen can be given back meanwhile"
    release.set()
    until(lambda: made.outcomes, "it came through")
    assert made.handle(b"") == [None]


def test_an_async_close_runs_in_the_handlers_own_loop() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def remember(*_: Any) -> None:
        loops.append(asyncio.get_running_loop())

    made = Rig(remember)
    made.handle(b"")
    made.slots.run(remember())
    assert loops[0] is loops[1]


def test_handlers_that_never_wait_leave_the_loop_to_those_that_do() -> None:
    """By order, not by the clock: the short sleep ends while most of the others are yet to be handled."""
    handled = 0
    at_wake = list[int]()

    async def handler(message: Message) -> None:
        nonlocal handled
        if message.body == b"waits":
            for _ in range(3):
                await asyncio.sleep(0.001)
            at_wake.append(handled)
        else:
            spin(0.0005)
            handled += 1

    made = Rig(handler, concurrency=8)
    outcomes = made.handle(b"waits", *[b"works"] * 3_000)
    assert outcomes == [None] * 3_001
    assert at_wake[0] < 1_000


@pytest.mark.parametrize("ask", ["now", "in the next round", "later"])
def test_a_handler_that_cancels_its_task_and_returns_harms_no_later_message(ask: str) -> None:
    async def handler(message: Message) -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        if message.body == b"cancels":
            if ask == "now":
                task.cancel()
            elif ask == "in the next round":
                loop.call_soon(task.cancel)
            else:
                loop.call_later(0.01, task.cancel)
        else:
            await asyncio.sleep(0.05)

    assert Rig(handler).handle(b"cancels", b"a", b"cancels", b"b") == [None] * 4


def test_a_handler_that_cancels_its_task_and_waits_fails_itself_alone() -> None:
    async def handler(message: Message) -> None:
        if message.body == b"cancels":
            asyncio.current_task().cancel()  # type: ignore[union-attr]
        await asyncio.sleep(0)

    bad, good = Rig(handler).handle(b"cancels", b"a")
    assert isinstance(bad, Retry)
    assert good is None


def test_a_slot_that_is_cancelled_between_two_turns_goes_on() -> None:
    async def handler(message: Message) -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        spin(0.006)

    made = Rig(handler, concurrency=1)
    assert made.handle(*[b""] * 20) == [None] * 20
    slots = made.slots
    assert isinstance(slots, LoopSlots)
    assert not slots._tasks[slots.slots[0]].done()
