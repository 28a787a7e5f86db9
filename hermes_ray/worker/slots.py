"""Slots: where handlers run, one message at a time each.

Threads for sync handlers; for async ones long-lived tasks of one event loop. A slot task drives the handler's coroutine
itself, in a context copied per message, so that no task is created per message and ``asyncio.timeout`` still works.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.outgoing import DUE_MS, PUBLISHED_MS
from hermes_ray.core.histogram import BUCKET_COUNT, DURATION_BUCKETS_S, bucket
from hermes_ray.errors import PermanentError
from hermes_ray.message import DeadLetter, Done, Outcome, Retry
from hermes_ray.worker.counters import RunCounts
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.handoff import Handoff, take_all
from hermes_ray.worker.incoming import Check, IncomingMessage
from hermes_ray.worker.standstill import LEAST_S, Standstill

__all__ = ["LoopSlots", "SlotFigures", "ThreadSlots"]

log = logging.getLogger(__name__)

Settle = Callable[[Delivery, Outcome], None]


class _Slot:
    """Counts of one slot, written by that slot alone: no lock, no lost update."""

    __slots__ = ("_standstill", "durations", "finished", "finished_s", "service", "started_s", "wait", "wait_s")

    def __init__(self, standstill: Standstill) -> None:
        self._standstill = standstill
        self.finished = 0
        self.finished_s = 0.0
        self.wait_s = 0.0
        self.service = [0] * BUCKET_COUNT
        self.wait = [0] * BUCKET_COUNT
        self.durations = [0] * (len(DURATION_BUCKETS_S) + 1)
        self.started_s: float | None = None  # monotonic, of the message in the handler now

    def begin(self, headers: Mapping[str, Any] | None) -> None:
        if headers:
            eligible_ms = headers.get(DUE_MS) or headers.get(PUBLISHED_MS)
            if isinstance(eligible_ms, int):  # or pika's own subclass, for a 64-bit one
                wait_s = max(0.0, time.time() - eligible_ms / 1000)  # clocks of two machines may disagree
                self.wait[bucket(wait_s)] += 1
                self.wait_s += wait_s
        self.started_s = time.monotonic()

    def end(self) -> None:
        took_s = self.working_s(self.started_s)  # type: ignore[arg-type]
        self.started_s = None
        self.finished += 1
        self.finished_s += took_s
        self.service[bucket(took_s)] += 1
        self.durations[bisect_left(DURATION_BUCKETS_S, took_s)] += 1

    def working_s(self, started_s: float) -> float:
        """For how long a message that began then has been worked on."""
        took_s = time.monotonic() - started_s
        return took_s if took_s < LEAST_S else max(0.0, took_s - self._standstill.within_s(started_s))


@dataclass(frozen=True, slots=True)
class SlotFigures:
    """All slots together, read without stopping them: what runs now, and what ran since the start."""

    running_count: int
    longest_running_s: float
    runs: RunCounts


def _figures(slots: Sequence[_Slot]) -> SlotFigures:
    running = [slot.working_s(s) for slot in slots if (s := slot.started_s) is not None]
    finished_s = sum(slot.finished_s for slot in slots)
    runs = RunCounts(
        finished=sum(slot.finished for slot in slots),
        finished_s=finished_s,
        busy_s=finished_s + sum(running),
        wait_s=sum(slot.wait_s for slot in slots),
        service=_together(slot.service for slot in slots),
        wait=_together(slot.wait for slot in slots),
        durations=_together(slot.durations for slot in slots),
    )
    return SlotFigures(len(running), max(running, default=0.0), runs)


class ThreadSlots:
    """``concurrency`` threads, each calling a sync handler with one message after the other."""

    def __init__(self, handler: Handler, topic: str, concurrency: int, check: Check, standstill: Standstill) -> None:
        self._handler = handler
        self._topic = topic
        self._check = check
        self._handoff = Handoff()
        self._slots = [_Slot(standstill) for _ in range(concurrency)]

    def start(self, settle: Settle) -> None:
        """Start handling; ``settle`` is called by the slot with each delivery and its outcome."""
        for n, slot in enumerate(self._slots):
            threading.Thread(target=self._work, args=(slot, settle), name=f"slot {n}", daemon=True).start()

    def put(self, batch: Sequence[Delivery]) -> None:
        """Queue a batch; called from the I/O thread."""
        self._handoff.put(batch)

    def take_buffered(self) -> list[Delivery]:
        """Take back what no handler has started on."""
        return self._handoff.take_all()

    def figures(self) -> SlotFigures:
        """What the slots do now and have done so far."""
        return _figures(self._slots)

    def run(self, awaitable: Awaitable[Any]) -> None:
        """Run what a sync class's async ``close`` returned."""
        asyncio.run(_await(awaitable))

    def _work(self, slot: _Slot, settle: Settle) -> None:
        call, topic, check = self._handler.call, self._topic, self._check
        outcome: Outcome
        for delivery in self._handoff:
            slot.begin(delivery.properties.headers)
            message = IncomingMessage(delivery, topic, check)
            try:
                result = contextvars.copy_context().run(call, message)
                if result is not None and inspect.isawaitable(result):
                    raise TypeError("the handler returned an awaitable nobody awaits: make it an async function")
                outcome = Done(publishes=message.publishes) if message.has_published else None
            except BaseException as error:
                outcome = _failure(error, self._handler)
            slot.end()
            settle(delivery, outcome)


class LoopSlots:
    """``concurrency`` tasks of one event loop in a thread of its own, each awaiting an async handler."""

    def __init__(self, handler: Handler, topic: str, concurrency: int, check: Check, standstill: Standstill) -> None:
        self._handler = handler
        self._topic = topic
        self._check = check
        self._buffer: deque[Delivery] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._slots = [_Slot(standstill) for _ in range(concurrency)]
        self._loop = asyncio.new_event_loop()
        self._wake_pending = False

    def start(self, settle: Settle) -> None:
        """Start handling; ``settle`` is called in the loop's thread with each delivery and its outcome."""
        threading.Thread(target=self._run_loop, args=(settle,), name="slots", daemon=True).start()

    def put(self, batch: Sequence[Delivery]) -> None:
        """Queue a batch; called from the I/O thread."""
        self._buffer.extend(batch)
        if not self._wake_pending:
            self._wake_pending = True
            self._loop.call_soon_threadsafe(self._wake)

    def take_buffered(self) -> list[Delivery]:
        """Take back what no handler has started on."""
        return take_all(self._buffer)

    def figures(self) -> SlotFigures:
        """What the slots do now and have done so far."""
        return _figures(self._slots)

    def run(self, awaitable: Awaitable[Any]) -> None:
        """Await ``awaitable`` in the handlers' event loop, where its resources belong."""
        asyncio.run_coroutine_threadsafe(_await(awaitable), self._loop).result()

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

    async def _work(self, slot: _Slot, settle: Settle) -> None:
        buffer, call, topic, check = self._buffer, self._handler.call, self._topic, self._check
        outcome: Outcome
        while True:
            try:
                delivery = buffer.popleft()
            except IndexError:
                await self._next()
                continue
            slot.begin(delivery.properties.headers)
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
                outcome = _failure(error, self._handler)
                _forget_cancellation()
            slot.end()
            settle(delivery, outcome)

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


def _together(counts: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*counts, strict=True)))


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _forget_cancellation() -> None:
    """A request to cancel that is left on the slot's task would, from Python 3.13 on, cancel the next message's too."""
    task = asyncio.current_task()
    while task is not None and task.uncancel():
        pass


def _failure(error: BaseException, handler: Handler) -> Outcome:
    text, trace = handler.sentence_of(error), handler.trace_of(error)
    if isinstance(error, PermanentError):
        return DeadLetter(reason="permanent", error=text, traceback=trace)
    return Retry(error=text, traceback=trace)
