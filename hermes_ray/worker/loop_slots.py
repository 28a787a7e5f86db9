"""Slots of async handlers: long-lived tasks of one event loop, one message at a time each.

A slot task drives the handler's coroutine itself, in a context copied per message, so that no task is created per
message and ``asyncio.timeout`` still works.

Handlers that seldom wait take turns with those that do, and with timers: after ``TURN_S`` of one round of the event
loop a slot takes no further message before the next. (Without, a sleep of 10 ms took 3.1 s under 12,000 messages.)

A handler that cancels its task, now or later, cancels what it does itself: never the slot's next message.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from time import monotonic
from types import CoroutineType
from typing import Any

from hermes_ray.broker.delivery import Delivery
from hermes_ray.message import Check
from hermes_ray.outcome import Done, Outcome, Retry
from hermes_ray.worker.event_loop import run_for_ever
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.handoff import take_back
from hermes_ray.worker.incoming import IncomingMessage
from hermes_ray.worker.results import result_of
from hermes_ray.worker.slot import Run, Settle, Slot, SlotFigures, failure, figures_of
from hermes_ray.worker.standstill import Standstill

__all__ = ["LoopSlots"]

TURN_S = 0.005


class LoopSlots:
    """``concurrency`` tasks of one event loop in a thread of its own, each awaiting an async handler."""

    def __init__(self, handler: Handler, topic: str, concurrency: int, check: Check, standstill: Standstill) -> None:
        self.slots = [Slot(standstill) for _ in range(concurrency)]
        self._handler = handler
        self._topic = topic
        self._check = check
        self._buffer: deque[Delivery] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._interrupted: dict[Slot, Retry] = {}  # what becomes of the messages whose handlers were told to stop
        self._tasks: dict[Slot, _SlotTask] = {}
        self._loop = asyncio.new_event_loop()
        self._wake_pending = False
        self._turn_s: float | None = None  # since when messages are taken in this round of the event loop

    def start(self, settle: Settle) -> None:
        """Start handling; ``settle`` is called in the loop's thread with each delivery and its outcome."""
        self._thread = threading.Thread(target=self._run_loop, args=(settle,), name="slots", daemon=True)
        self._thread.start()

    def put(self, batch: Sequence[Delivery]) -> None:
        """Queue a batch; called from the I/O thread."""
        self._buffer.extend(batch)
        if not self._wake_pending:
            self._wake_pending = True
            self._loop.call_soon_threadsafe(self._wake)

    def take_back(self, count: int | None = None, up_to: tuple[int, int] | None = None) -> list[Delivery]:
        """Take back what no handler has started on, see ``handoff.take_back``."""
        return take_back(self._buffer, count, up_to)

    def interrupt(self, slot: Slot, run: Run, outcome: Retry) -> bool:
        """Cancel the handler, and settle its message with ``outcome`` once it has ended; whether that can be done."""
        self._loop.call_soon_threadsafe(self._cancel, slot, run, outcome)
        return True

    def trace(self, slot: Slot) -> str:
        """Where the handler in ``slot`` is, as far as it keeps the event loop."""
        frame = None if slot in self._interrupted else sys._current_frames().get(self._thread.ident or 0)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def figures(self) -> SlotFigures:
        """What the slots do now and have done so far."""
        return figures_of(self.slots)

    def run(self, awaitable: Awaitable[Any]) -> None:
        """Await ``awaitable`` in the handlers' event loop, where its resources belong."""
        asyncio.run_coroutine_threadsafe(result_of(awaitable), self._loop).result()

    def _run_loop(self, settle: Settle) -> None:
        for slot in self.slots:
            self._tasks[slot] = _SlotTask(self._work(slot, settle), loop=self._loop)
        run_for_ever(self._loop)

    def _wake(self) -> None:
        self._wake_pending = False
        self._wake_one()

    def _wake_one(self) -> None:
        """Wake one slot; it wakes the next at its handler's first await, before which the event loop runs no other."""
        while self._buffer and self._idle:
            idle = self._idle.popleft()
            if not idle.done():  # else its slot's task was cancelled: it runs soon, and looks at the buffer itself
                idle.set_result(None)
                return

    def _cancel(self, slot: Slot, run: Run, outcome: Retry) -> None:
        if slot.run is run:
            self._interrupted[slot] = outcome
            self._tasks[slot].cancel()

    async def _work(self, slot: Slot, settle: Settle) -> None:
        call, topic, check = self._handler.call, self._topic, self._check
        task = self._tasks[slot]
        outcome: Outcome
        while True:
            delivery = self._take()
            if delivery is None:
                await self._pause()
                continue
            slot.begin(delivery)
            message = IncomingMessage(delivery, topic, check)
            try:
                step = task.of_next_message()
                coroutine = step(call, message)
                if type(coroutine) is not CoroutineType:
                    coroutine = result_of(coroutine)
                try:
                    waited_for = step(coroutine.send, None)
                except StopIteration as stop:
                    result = stop.value
                else:
                    self._wake_one()
                    result = await _Rest(step, coroutine, waited_for)
                if result is not None:
                    await self._finish(step, result)
                outcome = Done(publishes=message.publishes) if message.has_published else None
            except BaseException as error:  # CancelledError too: a task that ends takes its slot away for good
                outcome = failure(error, self._handler)
            message.seal()
            if not slot.end():
                return  # it was counted out: this worker is being replaced
            settle(delivery, self._told(slot, outcome) if self._interrupted else outcome)
            task.message = None
            if task.cancelling():  # what an earlier handler asked for would hit what comes next
                await self._next_turn()

    def _take(self) -> Delivery | None:
        """The next message; None where there is none, or others have waited for their turn."""
        if self._turn_s is None:
            self._begin_turn()
        elif monotonic() - self._turn_s > TURN_S:
            return None
        try:
            return self._buffer.popleft()
        except IndexError:
            return None

    async def _pause(self) -> None:
        await (self._next_turn() if self._buffer else self._next())

    async def _finish(self, step: Callable[..., Any], result: Any) -> None:
        """Await what a handler has returned, where that is work which has not been done yet."""
        coroutine = result_of(result)
        try:
            waited_for = step(coroutine.send, None)
        except StopIteration:
            return
        self._wake_one()
        await _Rest(step, coroutine, waited_for)

    def _told(self, slot: Slot, outcome: Outcome) -> Outcome:
        """What becomes of a message whose handler may have been told to stop: where it was then is in its traceback."""
        told = self._interrupted.pop(slot, None)
        if told is None:
            return outcome
        return replace(told, traceback=getattr(outcome, "traceback", ""))

    def _begin_turn(self) -> None:
        # What is asked for now comes in the next round, before all who ask later: so it ends this one.
        self._turn_s = monotonic()
        self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn_s = None

    async def _next_turn(self) -> None:
        with suppress(asyncio.CancelledError):  # which a handler asked for that has returned before it came
            await asyncio.sleep(0)
        _forget_cancellation()

    async def _next(self) -> None:
        idle: asyncio.Future[None] = self._loop.create_future()
        self._idle.append(idle)
        try:
            await idle
        except asyncio.CancelledError:
            # Something that an earlier handler left behind cancelled this task while it was idle. Take the announcement
            # back and go on: a task that ends takes its slot away for good.
            if idle in self._idle:
                self._idle.remove(idle)
            _forget_cancellation()


_asked_by: ContextVar[object] = ContextVar("the message whose handler, or what it has left behind, runs now")


class _SlotTask(asyncio.Task[None]):
    """The task of a slot, which handlers take for their own; ``message`` stands for the one that it handles now."""

    message: object = None

    def of_next_message(self) -> Callable[..., Any]:
        """A handler is called next; returns what runs each step of it in a context of its own."""
        self.message = message = object()
        run = contextvars.copy_context().run
        run(_asked_by.set, message)
        return run

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel, unless a handler asks that has returned: a task of its own would be over."""
        return _asked_by.get(self.message) is self.message and super().cancel(msg)


class _Rest:
    """Awaits what is left of ``coroutine``, which waits for ``waited_for``, with every step taken by ``step``."""

    __slots__ = ("_coroutine", "_step", "_waited_for")

    def __init__(self, step: Callable[..., Any], coroutine: Coroutine[Any, Any, Any], waited_for: Any) -> None:
        self._step = step
        self._coroutine = coroutine
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, Any, Any]:
        step, coroutine, waited_for = self._step, self._coroutine, self._waited_for
        while True:
            try:
                value = yield waited_for
            except BaseException as error:
                resume: Callable[[Any], Any] = coroutine.throw
                argument: Any = error
            else:
                resume, argument = coroutine.send, value
            try:
                waited_for = step(resume, argument)
            except StopIteration as stop:
                return stop.value


def _forget_cancellation() -> None:
    """A request to cancel that is left on the slot's task would, from Python 3.13 on, cancel the next message's too."""
    task = asyncio.current_task()
    while task is not None and task.uncancel():
        pass
