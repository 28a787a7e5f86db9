"""Handlers that keep the event loop: they are charged for it, and the others are not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.outcome import Retry
from hermes_ray.worker import loop_blocks, time_limits
from tests.support.ledger import until
from tests.support.slot_rig import Rig
from tests.unit.worker.test_time_limits import WRAPS, Watched, Wrap


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
    monkeypatch.setattr(loop_blocks, "_HUNG_S", 2.0)

    async def blocks() -> None:
        block(3.0)

    async def handler(message: Message) -> None:
        if message.body == b"starts":
            await asyncio.wait_for(blocks(), 60)
        await asyncio.sleep(0.3)

    made = Watched(handler, timeout_s=1.0, concurrency=4)
    first, starts, *others = made.handle(b"a", b"starts", b"b", b"c")
    assert [first, *others] == [None] * 3
    assert isinstance(starts, Retry)
    assert "block(3.0)" in starts.traceback


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


@pytest.mark.parametrize("wakes", [asyncio.Event.wait, lambda _: asyncio.sleep(0.05)], ids=["an event", "a timer"])
def test_handlers_that_wake_together_let_others_by(wakes: Callable[[asyncio.Event], Any]) -> None:
    ran: list[int] = []
    seen: list[int] = []
    event = asyncio.Event()

    async def handler(message: Message) -> None:
        if message.body == b"wakes":
            event.set()
            return
        await wakes(event)
        if not ran:
            asyncio.get_running_loop().call_soon(lambda: seen.append(len(ran)))
        ran.append(1)
        spin(0.002)

    made = Rig(handler, concurrency=51)
    tags = made.put(*[b"waits"] * 50)
    until(lambda: made.slots.figures().running_count == 50 or ran, "they wait")
    made.put(b"wakes")
    until(lambda: all(tag in made.outcomes for tag in tags), "all were handled")
    assert len(ran) == 50
    assert seen[0] <= 10


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
