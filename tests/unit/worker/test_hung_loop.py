"""Handlers whose event loop does not come back: nobody waits for their end, and for all others as ever."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.outcome import Retry
from hermes_ray.worker import loop_blocks, time_limits
from tests.support.ledger import until
from tests.support.slot_rig import Rig
from tests.unit.worker.test_time_limits import WRAPS, Watched, Wrap

HUNG_S = 0.5


def counts(made: Rig) -> tuple[int, int]:
    """Handlers that run, and those of them that may come to their end."""
    return made.slots.figures().running_count, made.slots.at_work_count()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop hangs after ``HUNG_S``, and handlers that were cancelled have to end at once."""
    monkeypatch.setattr(loop_blocks, "_HUNG_S", HUNG_S)
    monkeypatch.setattr(time_limits, "CANCEL_S", 0.1)


class Keeper:
    """While two wait in the event loop, a third keeps it until ``gate`` opens, or leaves behind what does."""

    def __init__(self, gate: threading.Event) -> None:
        self._gate = gate
        self._waiting_count = 0
        self._all_wait = asyncio.Event()

    async def handle(self, message: Message) -> None:
        if message.body == b"waits":
            self._waiting_count += 1
            if self._waiting_count == 2:
                self._all_wait.set()
            await asyncio.sleep(0.5)
            return
        await self._all_wait.wait()
        if message.body == b"calls":
            asyncio.get_running_loop().call_soon(self._gate.wait, 120)
            await asyncio.sleep(0.05)
        elif message.body == b"leaves":
            asyncio.get_running_loop().call_later(0.05, self._gate.wait, 120)  # it has ended by then
        else:
            self._gate.wait(120)


@WRAPS
def test_who_waits_for_a_loop_that_one_who_was_counted_out_keeps_is_not_waited_for_until_it_comes_back(
    gate: threading.Event, wrap: Wrap
) -> None:
    made = Watched(wrap(Keeper(gate).handle), timeout_s=2.0, concurrency=3)
    *others, keeps = made.put(b"waits", b"waits", b"keeps")
    until(lambda: keeps in made.outcomes and counts(made) == (2, 0), "none can come to its end")
    assert isinstance(made.outcomes[keeps], Retry)
    assert len(made.outcomes) == 1, "the others have used up no attempt"
    gate.set()
    until(lambda: len(made.outcomes) == 3, "the loop comes back")
    assert [made.outcomes[tag] for tag in others] == [None] * 2


@WRAPS
def test_who_waits_for_a_loop_that_nobody_is_known_to_keep_is_not_waited_for(gate: threading.Event, wrap: Wrap) -> None:
    made = Watched(wrap(Keeper(gate).handle), timeout_s=None, concurrency=3)
    made.put(b"leaves", b"waits", b"waits")
    until(lambda: counts(made) == (2, 0), "none can come to its end")


@pytest.mark.parametrize("how", [b"keeps", b"calls"], ids=["itself", "by a callback"])
@WRAPS
def test_a_handler_that_keeps_the_loop_is_waited_for_as_long_as_it_has_time(
    gate: threading.Event, wrap: Wrap, how: bytes
) -> None:
    made = Watched(wrap(Keeper(gate).handle), timeout_s=None, concurrency=3)
    made.put(b"waits", b"waits", how)
    until(lambda: made.slots.figures().longest_running_s > 5 * HUNG_S, "it takes long")
    assert counts(made) == (3, 3)


def test_sync_handlers_are_waited_for_whatever_keeps_the_loop_that_others_pass_their_work_on_to(
    gate: threading.Event,
) -> None:
    keeper, computed = Keeper(gate), threading.Event()

    def handler(message: Message) -> Any:
        return computed.wait(60) if message.body == b"computes" else keeper.handle(message)

    made = Watched(handler, timeout_s=None, concurrency=4)
    made.put(b"computes", b"leaves", b"waits", b"waits")
    until(lambda: counts(made) == (3, 1), "the others cannot come to their end")
    computed.set()
    until(lambda: counts(made) == (2, 0), "it comes to its end")


@WRAPS
def test_a_callback_that_its_handler_waits_for_uses_up_an_attempt_of_that_one_alone(
    gate: threading.Event, wrap: Wrap
) -> None:
    made = Watched(wrap(Keeper(gate).handle), timeout_s=1.0, concurrency=3)
    *others, calls = made.put(b"waits", b"waits", b"calls")
    until(lambda: calls in made.outcomes, "it is counted out")
    gate.set()
    until(lambda: len(made.outcomes) == 3, "the loop comes back")
    assert isinstance(made.outcomes[calls], Retry)
    assert [made.outcomes[tag] for tag in others] == [None] * 2
