"""Collections that lose what is done while it is waited for: what a handler returned is what it held then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.outcome import Retry
from hermes_ray.worker.thread_slots import ThreadSlots
from tests.support.ledger import until
from tests.support.slot_rig import Rig

KINDS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "a list": (list, "append", "remove"),
    "a set": (set, "add", "discard"),
    "the keys of a dict": (dict, "setdefault", "pop"),
}
COLLECTIONS = pytest.mark.parametrize(("make", "add", "forget"), KINDS.values(), ids=KINDS)


@COLLECTIONS
def test_tasks_that_are_forgotten_once_they_are_done_are_all_waited_for(
    make: Callable[[], Any], add: str, forget: str
) -> None:
    first_is_done = asyncio.Event()
    done: list[None] = []

    async def first() -> None:
        await asyncio.sleep(0)
        first_is_done.set()

    async def second(is_to_fail: bool) -> None:
        await first_is_done.wait()
        for _ in range(5):  # for the callbacks of the first
            await asyncio.sleep(0)
        if is_to_fail:
            raise RuntimeError("the second")
        done.append(None)

    async def handler(message: Message) -> Any:
        tasks = make()
        for work in (first(), second(message.body == b"fails")):
            task = asyncio.create_task(work)
            getattr(tasks, add)(task)
            task.add_done_callback(getattr(tasks, forget))
        return tasks.keys() if isinstance(tasks, dict) else tasks

    made = Rig(handler)
    fails, fine = made.handle(b"fails", b"fine")
    assert isinstance(fails, Retry)
    assert fails.error == "RuntimeError: the second"
    assert (fine, done) == (None, [None])


@COLLECTIONS
def test_futures_of_a_pool_that_are_forgotten_on_the_way_to_who_waits_for_them_fail_their_message(
    make: Callable[[], Any], add: str, forget: str
) -> None:
    """The event loop that waits for what a sync handler returned is busy when they end."""
    pool, ended = ThreadPoolExecutor(1), threading.Event()

    def fail() -> None:
        until(lambda: all(map(passed_on.has, made.slots.slots)), "the handler has returned it")
        raise RuntimeError("the database is away")

    async def keep_the_loop() -> None:
        ended.wait(60)

    def handler(message: Message) -> Any:
        if message.body == b"keeps the loop":
            return keep_the_loop()
        futures, future = make(), pool.submit(fail)
        getattr(futures, add)(future)
        future.add_done_callback(getattr(futures, forget))
        future.add_done_callback(lambda _: ended.set())
        return futures

    made = Rig(handler, concurrency=2)
    assert isinstance(made.slots, ThreadSlots)
    passed_on = made.slots._passed_on
    keeps, fails = made.handle(b"keeps the loop", b"fails")
    assert keeps is None
    assert isinstance(fails, Retry)
    assert fails.error == "RuntimeError: the database is away"
