"""Slots of sync handlers: threads, one message at a time each."""

from __future__ import annotations

import contextvars
import sys
import threading
import traceback
from collections.abc import Awaitable, Sequence
from typing import Any

from hermes_ray.broker.delivery import Delivery
from hermes_ray.message import Check
from hermes_ray.outcome import Done, Outcome, Retry
from hermes_ray.worker.event_loop import HandlersLoop
from hermes_ray.worker.forked import are_here
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.handoff import Handoff
from hermes_ray.worker.incoming import IncomingMessage
from hermes_ray.worker.results import work_in
from hermes_ray.worker.slot import Run, Settle, Slot, SlotFigures, figures_of
from hermes_ray.worker.standstill import Standstill

__all__ = ["ThreadSlots"]


class ThreadSlots:
    """``concurrency`` threads, each calling a sync handler with one message after the other."""

    def __init__(self, handler: Handler, topic: str, concurrency: int, check: Check, standstill: Standstill) -> None:
        self.slots = [Slot(standstill) for _ in range(concurrency)]
        self._handler = handler
        self._topic = topic
        self._check = check
        self._handoff = Handoff()
        self._threads: dict[Slot, int | None] = {}
        self._passed_on = HandlersLoop(handler, concurrency)  # for what they leave to be awaited
        self._is_worn = False

    def start(self, settle: Settle) -> None:
        """Start handling; ``settle`` is called by the slot with each delivery and its outcome."""
        are_here()
        for n, slot in enumerate(self.slots):
            thread = threading.Thread(target=self._work, args=(slot, settle), name=f"slot {n}", daemon=True)
            thread.start()
            self._threads[slot] = thread.ident

    def put(self, batch: Sequence[Delivery]) -> None:
        """Queue a batch; called from the I/O thread."""
        self._handoff.put(batch)

    def take_back(self, up_to: tuple[int, int] | None = None) -> list[Delivery]:
        """Take back what no handler has started on, see ``handoff.take_back``."""
        return self._handoff.take_back(up_to)

    def interrupt(self, slot: Slot, run: Run, outcome: Retry) -> bool:
        """Whether the handler can be told to stop: a thread cannot, what it has passed on can."""
        return self._passed_on.interrupt(slot, run, outcome)

    def trace(self, slot: Slot) -> str:
        """Where the handler in ``slot`` is; of what it has passed on, as far as that keeps the event loop."""
        if self._passed_on.has(slot):
            return self._passed_on.trace(slot)
        frame = sys._current_frames().get(self._threads.get(slot) or 0)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def look(self, now_s: float) -> None:
        """Note what keeps the event loop that handlers pass their work on to: threads do not keep each other."""
        self._passed_on.look(now_s)

    def held_up_s(self, slot: Slot, since_s: float) -> float:
        """For how long since ``since_s`` another kept the event loop from what the handler has passed on."""
        return self._passed_on.held_up_s(slot, since_s) if self._passed_on.has(slot) else 0.0

    def is_worn(self, before_s: float) -> bool:
        """Whether handlers have left threads at work, or an exception that came between two messages: told once."""
        found, self._is_worn = self._is_worn, False
        return self._passed_on.is_worn(before_s) or found

    def at_work_count(self) -> int:
        """Handlers that run now and may come to their end."""
        return sum(slot.run is not None and self._passed_on.can_go_on(slot) for slot in self.slots)

    def figures(self) -> SlotFigures:
        """What the slots do now and have done so far."""
        return figures_of(self.slots)

    def run(self, awaitable: Awaitable[Any]) -> None:
        """Run what a sync class's async ``close`` returned."""
        self._passed_on.start("passed on")
        self._passed_on.run(awaitable)

    def _work(self, slot: Slot, settle: Settle) -> None:
        stray: BaseException | None = None
        while True:
            try:
                self._work_until_counted_out(slot, settle, stray)
                return  # this worker is being replaced
            except BaseException as error:  # that a handler has left for its thread, and that came after its return
                stray, self._is_worn = error, True  # no call here: another one would end the thread in it

    def _work_until_counted_out(self, slot: Slot, settle: Settle, stray: BaseException | None) -> None:
        if stray is not None and (run := slot.run) is not None:
            outcome = self._passed_on.told(slot, self._passed_on.failed(stray))
            if not slot.end():
                return
            settle(run[1], outcome)
        if stray is not None:
            stray.__traceback__ = None  # while the slot is idle its message would be kept
        for delivery in self._handoff:
            if not self._handle(slot, delivery, settle):
                return
            del delivery  # while the slot is idle it would be kept

    def _handle(self, slot: Slot, delivery: Delivery, settle: Settle) -> bool:
        """Whether the slot goes on: its message was not counted out meanwhile."""
        outcome: Outcome
        slot.begin(delivery)
        message = IncomingMessage(delivery, self._topic, self._check)
        try:
            run = contextvars.copy_context().run
            result = run(self._handler.call, message)
            if result is not None and (works := work_in(result)):
                self._passed_on.start("passed on")
                run(self._passed_on.pass_on, slot, works)
            message.seal()
            outcome = Done(publishes=message.publishes) if message.has_published else None
        except BaseException as error:
            message.seal()
            outcome = self._passed_on.failed(error)
        outcome = self._passed_on.told(slot, outcome)
        if not slot.end():
            return False
        settle(delivery, outcome)
        return True
