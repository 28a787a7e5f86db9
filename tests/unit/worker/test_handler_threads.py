"""Threads that handlers take for their work: each has one, and such as do not come back are told."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from hermes_ray import Message
from hermes_ray.outcome import Retry
from hermes_ray.worker import slot_task, time_limits
from tests.support.ledger import until
from tests.support.slot_rig import Rig
from tests.unit.worker.test_time_limits import WRAPS, Watched, Wrap


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
@pytest.mark.parametrize(("slot_count", "threads_each"), [(32, 1), (48, 1), (1, 32)])
def test_each_handler_has_a_thread_and_all_together_have_32(wrap: Wrap, slot_count: int, threads_each: int) -> None:
    together = threading.Barrier(slot_count * threads_each)

    async def handler(_message: Message) -> None:
        await asyncio.gather(*[asyncio.to_thread(together.wait, 20) for _ in range(threads_each)])

    assert Rig(wrap(handler), concurrency=slot_count).handle(*[b""] * slot_count) == [None] * slot_count


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
