"""Slots of sync handlers: threads, one message at a time each."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Sequence
from typing import Any

from hermes_ray.broker.delivery import Delivery
from hermes_ray.message import Check
from hermes_ray.outcome import Done, Outcome
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.handoff import Handoff
from hermes_ray.worker.incoming import IncomingMessage
from hermes_ray.worker.slot import Settle, Slot, SlotFigures, failure, figures_of
from hermes_ray.worker.standstill import Standstill

__all__ = ["ThreadSlots"]


class ThreadSlots:
    """``concurrency`` threads, each calling a sync handler with one message after the other."""

    def __init__(self, handler: Handler, topic: str, concurrency: int, check: Check, standstill: Standstill) -> None:
        self._handler = handler
        self._topic = topic
        self._check = check
        self._handoff = Handoff()
        self._slots = [Slot(standstill) for _ in range(concurrency)]

    def start(self, settle: Settle) -> None:
        """Start handling; ``settle`` is called by the slot with each delivery and its outcome."""
        for n, slot in enumerate(self._slots):
            threading.Thread(target=self._work, args=(slot, settle), name=f"slot {n}", daemon=True).start()

    def put(self, batch: Sequence[Delivery]) -> None:
        """Queue a batch; called from the I/O thread."""
        self._handoff.put(batch)

    def take_back(self, count: int | None = None) -> list[Delivery]:
        """Take back what no handler has started on, the ``count`` that came last or all."""
        return self._handoff.take_last(count)

    def figures(self) -> SlotFigures:
        """What the slots do now and have done so far."""
        return figures_of(self._slots)

    def run(self, awaitable: Awaitable[Any]) -> None:
        """Run what a sync class's async ``close`` returned."""
        asyncio.run(_awaited(awaitable))

    def _work(self, slot: Slot, settle: Settle) -> None:
        call, topic, check = self._handler.call, self._topic, self._check
        outcome: Outcome
        for delivery in self._handoff:
            slot.begin(delivery.raw)
            message = IncomingMessage(delivery, topic, check)
            try:
                result = contextvars.copy_context().run(call, message)
                if result is not None and inspect.isawaitable(result):
                    raise TypeError("the handler returned an awaitable nobody awaits: make it an async function")
                outcome = Done(publishes=message.publishes) if message.has_published else None
            except BaseException as error:
                outcome = failure(error, self._handler)
            slot.end()
            message.seal()
            settle(delivery, outcome)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
