"""Slots of async handlers: long-lived tasks of one event loop, one message at a time each.

A slot task drives the handler's coroutine itself, in a context copied per message, so that no task is created per
message and ``asyncio.timeout`` still works.

Handlers that seldom wait take turns with those that do, and with timers: after ``TURN_S`` of one round of the event
loop a slot takes no further message before the next. (Without, a sleep of 10 ms took 3.1 s under 12,000 messages.)
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from time import monotonic
from typing import Any

from hermes_ray.broker.delivery import Delivery
from hermes_ray.message import Check
from hermes_ray.outcome import Done, Outcome
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.handoff import take_last
from hermes_ray.worker.incoming import IncomingMessage
from hermes_ray.worker.slot import Settle, Slot, SlotFigures, failure, figures_of
from hermes_ray.worker.standstill import Standstill

__all__ = ["LoopSlots"]

log = logging.getLogger(__name__)

TURN_S = 0.005


class LoopSlots:
    """``concurrency`` tasks of one event loop in a thread of its own, each awaiting an async handler."""

    def __init__(self, handler: Handler, topic: str, concurrency: int, check: Check, standstill: Standstill) -> None:
        self._handler = handler
        self._topic = topic
        self._check = check
        self._buffer: deque[Delivery] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._slots = [Slot(standstill) for _ in range(concurrency)]
        self._loop = asyncio.new_event_loop()
        self._wake_pending = False
        self._turn_s: float | None = None  # since when messages are taken in this round of the event loop

    def start(self, settle: Settle) -> None:
        """Start handling; ``settle`` is called in the loop's thread with each delivery and its outcome."""
        threading.Thread(target=self._run_loop, args=(settle,), name="slots", daemon=True).start()

    def put(self, batch: Sequence[Delivery]) -> None:
        """Queue a batch; called from the I/O thread."""
        self._buffer.extend(batch)
        if not self._wake_pending:
            self._wake_pending = True
            self._loop.call_soon_threadsafe(self._wake)

    def take_back(self, count: int | None = None) -> list[Delivery]:
        """Take back what no handler has started on, the ``count`` that came last or all."""
        return take_last(self._buffer, count)

    def figures(self) -> SlotFigures:
        """What the slots do now and have done so far."""
        return figures_of(self._slots)

    def run(self, awaitable: Awaitable[Any]) -> None:
        """Await ``awaitable`` in the handlers' event loop, where its resources belong."""
        asyncio.run_coroutine_threadsafe(_awaited(awaitable), self._loop).result()

    def _run_loop(self, settle: Settle) -> None:
        asyncio.set_event_loop(self._loop)
        self._tasks = [self._loop.create_task(self._work(slot, settle)) for slot in self._slots]
        while True:
            try:
                self._loop.run_forever()
            except BaseException:  # SystemExit in a task that a handler started: the loop passes it on and stops
                log.exception("something in the handlers' event loop tried to end it")
            else:
                log.error("something in the handlers' event loop stopped it")

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

    async def _work(self, slot: Slot, settle: Settle) -> None:
        buffer, call, topic, check = self._buffer, self._handler.call, self._topic, self._check
        outcome: Outcome
        while True:
            if self._turn_s is None:
                self._begin_turn()
            elif monotonic() - self._turn_s > TURN_S:
                await self._next_turn()
                continue
            try:
                delivery = buffer.popleft()
            except IndexError:
                await self._next()
                continue
            slot.begin(delivery.raw)
            message = IncomingMessage(delivery, topic, check)
            try:
                step = contextvars.copy_context().run
                coroutine = call(message)
                try:
                    waited_for = step(coroutine.send, None)
                except StopIteration:
                    pass  # the handler has returned without a suspension
                else:
                    self._wake_one()
                    await _Rest(step, coroutine, waited_for)
                outcome = Done(publishes=message.publishes) if message.has_published else None
            except BaseException as error:  # CancelledError too: a task that ends takes its slot away for good
                outcome = failure(error, self._handler)
                _forget_cancellation()
            slot.end()
            message.seal()
            settle(delivery, outcome)

    def _begin_turn(self) -> None:
        # What is asked for now comes in the next round, before all who ask later: so it ends this one.
        self._turn_s = monotonic()
        self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn_s = None

    async def _next_turn(self) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:  # as in ``_next``
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


class _Rest:
    """Awaits what is left of ``coroutine``, which waits for ``waited_for``, with every step taken by ``step``."""

    __slots__ = ("_coroutine", "_step", "_waited_for")

    def __init__(self, step: Callable[..., Any], coroutine: Coroutine[Any, Any, Any], waited_for: Any) -> None:
        self._step = step
        self._coroutine = coroutine
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, Any, None]:
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
            except StopIteration:
                return


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _forget_cancellation() -> None:
    """A request to cancel that is left on the slot's task would, from Python 3.13 on, cancel the next message's too."""
    task = asyncio.current_task()
    while task is not None and task.uncancel():
        pass
