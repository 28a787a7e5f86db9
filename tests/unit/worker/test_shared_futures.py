"""What a handler returns to be awaited, and who else waits for it, when its message is given up on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.outcome import Retry
from tests.support.ledger import until
from tests.unit.worker.test_time_limits import FAR_S, WRAPS, Watched, Wrap


def busy_pool(gate: threading.Event) -> ThreadPoolExecutor:
    """One that begins nothing else until ``gate`` is open."""
    pool = ThreadPoolExecutor(1)
    pool.submit(gate.wait, 60)
    return pool


SHARED: dict[str, Callable[[threading.Event], Any]] = {
    "of a pool": lambda gate: busy_pool(gate).submit(int),
    "of the event loop": lambda gate: asyncio.get_running_loop().run_in_executor(busy_pool(gate), int),
    "a task of an earlier message": lambda gate: asyncio.create_task(asyncio.to_thread(gate.wait, 60)),
}


@WRAPS
@pytest.mark.parametrize("make", SHARED.values(), ids=SHARED)
def test_a_future_that_messages_share_is_cancelled_with_none_of_them(
    make: Callable[[threading.Event], Any], wrap: Wrap, gate: threading.Event
) -> None:
    shared: list[Any] = []
    waiting: list[None] = []

    async def waits() -> None:
        waiting.append(None)

    async def handler(_message: Message) -> Any:
        if not shared:
            shared.append(make(gate))
            return None
        return [waits(), shared[0]]

    made = Watched(wrap(handler), timeout_s=None, concurrency=2)
    assert made.handle(b"makes it") == [None]
    stopped, other = made.put(b"a", b"b")
    until(lambda: len(waiting) == 2, "both wait for it")
    made.last_overdue = stopped
    until(lambda: stopped in made.outcomes, "it is given up on")
    assert isinstance(made.outcomes[stopped], Retry)
    gate.set()
    until(lambda: other in made.outcomes, "the other goes on")
    assert made.outcomes[other] is None
    assert made.handle(b"c") == [None]


@WRAPS
def test_a_task_of_its_own_that_a_handler_returns_is_cancelled_with_its_message(wrap: Wrap) -> None:
    own: list[asyncio.Task[None]] = []

    async def handler(_message: Message) -> Any:
        own.append(asyncio.create_task(asyncio.sleep(FAR_S)))
        return own

    assert Watched(wrap(handler)).outcome(b"slow").reason == "timeout"
    until(own[0].cancelled, "nobody waits for it any more")
