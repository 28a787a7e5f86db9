"""Slots of async handlers: long-lived tasks of one event loop, one message at a time each.

A slot task drives the handler's coroutine itself, in a context copied per message, so that no task is created per
message and ``asyncio.timeout`` still works.

A handler that cancels its task, now or later, cancels what it does itself: never the slot's next message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from functools import partial
from types import CoroutineType
from typing import Any

from hermes_ray.broker.delivery import Delivery
from hermes_ray.message import Check
from hermes_ray.outcome import Done, Outcome, Retry
from hermes_ray.worker.event_loop import HandlersLoop
from hermes_ray.worker.forked import are_here
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.handoff import take_back
from hermes_ray.worker.incoming import IncomingMessage
from hermes_ray.worker.results import finish, work_in
from hermes_ray.worker.slot import Run, Settle, Slot, SlotFigures, figures_of
from hermes_ray.worker.slot_task import SlotTask
from hermes_ray.worker.standstill import Standstill
from hermes_ray.worker.turns import Turns

__all__ = ["LoopSlots"]


class LoopSlots:
    """``concurrency`` tasks of one event loop in a thread of its own, each awaiting an async handler."""

    def __init__(self, handler: Handler, topic: str, concurrency: int, check: Check, standstill: Standstill) -> None:
        self.slots = [Slot(standstill) for _ in range(concurrency)]
        self._handler = handler
        self._topic = topic
        self._check = check
        self._buffer: deque[Delivery] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._shared = HandlersLoop(handler, concurrency)
        self._loop = self._shared.loop
        self._tasks: dict[Slot, SlotTask] = self._shared.tasks
        self._wake_pending = False
        self._turns = Turns(self._loop.call_soon)
        self._is_worn = False

    def start(self, settle: Settle) -> None:
        """Start handling; ``settle`` is called in the loop's thread with each delivery and its outcome."""
        are_here()
        for slot in self.slots:
            self._begin(slot, settle)
        self._shared.start("slots")

    def put(self, batch: Sequence[Delivery]) -> None:
        """Queue a batch; called from the I/O thread."""
        self._buffer.extend(batch)
        if not self._wake_pending:
            self._wake_pending = True
            self._loop.call_soon_threadsafe(self._wake)

    def take_back(self, up_to: tuple[int, int] | None = None) -> list[Delivery]:
        """Take back what no handler has started on, see ``handoff.take_back``."""
        return take_back(self._buffer, up_to)

    def interrupt(self, slot: Slot, run: Run, outcome: Retry) -> bool:
        """Cancel the handler, and settle its message with ``outcome`` once it has ended; whether that can be done."""
        return self._shared.interrupt(slot, run, outcome)

    def trace(self, slot: Slot) -> str:
        """Where the handler in ``slot`` is, as far as it keeps the event loop."""
        return self._shared.trace(slot)

    def look(self, now_s: float) -> None:
        """Note what keeps the event loop; called often, by one thread."""
        self._shared.look(now_s)

    def held_up_s(self, slot: Slot, since_s: float) -> float:
        """For how long since ``since_s`` the handler in ``slot`` could not go on, as another kept the event loop."""
        return self._shared.held_up_s(slot, since_s)

    def is_worn(self, before_s: float) -> bool:
        """Whether handlers have left threads at work, or an exception that came between two messages: told once."""
        found, self._is_worn = self._is_worn, False
        return self._shared.is_worn(before_s) or found

    def at_work_count(self) -> int:
        """Handlers that run now and may come to their end."""
        return sum(slot.run is not None and self._shared.can_go_on(slot) for slot in self.slots)

    def figures(self) -> SlotFigures:
        """What the slots do now and have done so far."""
        return figures_of(self.slots)

    def run(self, awaitable: Awaitable[Any]) -> None:
        """Await ``awaitable`` in the handlers' event loop, where its resources belong."""
        self._shared.run(awaitable)

    def _begin(self, slot: Slot, settle: Settle) -> None:
        work, on_end = self._work(slot, settle), partial(self._begin_anew, slot, settle)
        self._tasks[slot] = SlotTask(work, slot, self._loop, on_end)

    def _begin_anew(self, slot: Slot, settle: Settle, task: SlotTask) -> None:
        """Unless it was counted out: an exception that a handler has left behind came between two messages."""
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            if task.result():
                self._begin(slot, settle)
            return
        run, self._is_worn = slot.run, True
        outcome = self._shared.told(slot, self._shared.failed(error or asyncio.CancelledError()))
        task.end_message()
        if run is not None and slot.end():
            settle(run[1], outcome)
        self._begin(slot, settle)

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

    async def _work(self, slot: Slot, settle: Settle) -> bool:
        """Whether the slot goes on, with another task."""
        call, topic, check = self._handler.call, self._topic, self._check
        task = self._tasks[slot]
        outcome: Outcome
        step: Any
        works: Any
        while not task.is_waiting:
            delivery = self._take() or await self._wait()
            if delivery is None:
                continue
            slot.begin(delivery)
            message = IncomingMessage(delivery, topic, check)
            try:
                step = task.of_next_message()
                coroutine = step(call, message)
                if type(coroutine) is not CoroutineType:
                    coroutine = finish(work_in(coroutine))
                try:
                    waited_for = step(coroutine.send, None)
                except StopIteration as stop:
                    result = stop.value
                else:
                    self._wake_one()
                    result = await _Rest(self._turns, step, coroutine, waited_for)
                if result is not None and (works := work_in(result)):
                    await self._do_works(step, works)
                message.seal()
                outcome = Done(publishes=message.publishes) if message.has_published else None
            except BaseException as error:  # CancelledError too: a task that ends takes its slot away for good
                message.seal()
                outcome = self._shared.failed(error)
            outcome = self._shared.told(slot, outcome)
            task.end_message()
            if not slot.end():
                return False  # it was counted out: this worker is being replaced
            settle(delivery, outcome)
            del delivery, message
            step = coroutine = result = works = waited_for = outcome = None  # an idle slot would keep them
            if task.is_asked:  # what was asked for might hit what comes next
                task.is_asked = False
                await self._next_turn()
        return True

    def _take(self) -> Delivery | None:
        """The next message; None where there is none, or others have waited for their turn."""
        try:
            return None if self._turns.is_over() else self._buffer.popleft()
        except IndexError:
            return None

    async def _wait(self) -> Delivery | None:
        """The next message once there is one, in its turn; None if another slot has taken it."""
        if not self._buffer:
            await self._next()
            return None
        with suppress(asyncio.CancelledError):
            await _Turn(self._turns)
        _forget_cancellation()
        return self._buffer.popleft() if self._buffer else None

    async def _do_works(self, step: Callable[..., Any], works: Sequence[Any]) -> None:
        """Await what a handler has returned, where that is work which has not been done yet."""
        coroutine = finish(works)
        try:
            waited_for = step(coroutine.send, None)
        except StopIteration:
            return
        self._wake_one()
        await _Rest(self._turns, step, coroutine, waited_for)

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


class _Turn:
    """Awaits the next turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def __await__(self) -> Generator[None, None, None]:
        return self._turns.wait()


class _Rest:
    """Awaits what is left of ``coroutine``, which waits for ``waited_for``, with every step taken by ``step``."""

    __slots__ = ("_coroutine", "_step", "_turns", "_waited_for")

    def __init__(
        self, turns: Turns, step: Callable[..., Any], coroutine: Coroutine[Any, Any, Any], waited_for: Any
    ) -> None:
        self._turns = turns
        self._step = step
        self._coroutine = coroutine
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, Any, Any]:
        step, coroutine, waited_for, turns = self._step, self._coroutine, self._waited_for, self._turns
        while True:
            try:
                value = yield waited_for
                if turns.is_over():
                    yield from turns.wait()
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
