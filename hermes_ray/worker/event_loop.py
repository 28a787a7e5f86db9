"""The event loop that the handlers of a worker share: none of them can end it, and who keeps it is known."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections import deque
from collections.abc import Awaitable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from hermes_ray.logs import Log
from hermes_ray.outcome import DeadLetter, Outcome, Retry
from hermes_ray.worker.forked import FORKED, leave, watch
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.loop_blocks import LoopBlocks
from hermes_ray.worker.results import finish, work_in
from hermes_ray.worker.slot import Run, Slot, failure
from hermes_ray.worker.slot_task import Asker, HandlerTask, HandlerThreads, asked_by

__all__ = ["HandlersLoop"]

log = Log(__name__)


class HandlersLoop:
    """An event loop in a thread of its own, from ``start`` on, in which handlers in slots wait for what they wait for.

    ``tasks`` has the one that does the work of a slot now.
    """

    def __init__(self, handler: Handler, slot_count: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.tasks: dict[Slot, Any] = {}
        self._passed_on: set[Slot] = set()
        self._interrupted: dict[Slot, tuple[Retry, Asker]] = {}  # what becomes of messages whose handlers were stopped
        self._handler = handler
        self._threads = HandlerThreads(slot_count, handler)
        self._left: deque[tuple[float, Asker]] = deque()  # messages whose handlers were stopped, and when
        self._blocks = LoopBlocks(self.loop.call_soon_threadsafe, self._holder)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        watch(self.loop)
        self.loop.set_default_executor(self._threads)
        self.loop.set_task_factory(_task)
        self.loop.set_exception_handler(self._tell)
        self.loop.shutdown_default_executor = _keep  # type: ignore[method-assign]
        self.loop.shutdown_asyncgens = _keep  # type: ignore[method-assign]

    def start(self, name: str) -> None:
        """Begin, unless it has begun."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run_for_ever, name=name, daemon=True)
                thread.start()  # which may raise, at the limit of threads: the next message tries again
                self._thread = thread

    def run(self, awaitable: Awaitable[Any]) -> None:
        """Await ``awaitable`` in this loop, where the handlers' resources belong; for other threads."""
        asyncio.run_coroutine_threadsafe(finish(work_in(awaitable)), self.loop).result()

    def pass_on(self, slot: Slot, works: Sequence[Any]) -> None:
        """Do ``works``, what is left to do in ``slot``, in the context of the calling thread; raises what it raises."""
        if FORKED:
            leave(self._handler)  # the loop is its parent's
        message, done = Asker(slot), Future[None]()
        asked_by.set(message)
        self._passed_on.add(slot)
        self.loop.call_soon_threadsafe(self._begin, slot, works, done)
        try:
            done.result()
        finally:
            self._passed_on.discard(slot)
            message.over_s = monotonic()

    def has(self, slot: Slot) -> bool:
        """Whether the handler in ``slot`` waits in this loop, or for its turn in it."""
        return slot in self.tasks or slot in self._passed_on

    def interrupt(self, slot: Slot, run: Run, outcome: Retry) -> bool:
        """Cancel the handler, and settle its message with ``outcome`` once it has ended; whether that can be done."""
        if not self.has(slot):
            return False
        self.loop.call_soon_threadsafe(self._cancel, slot, run, outcome)
        return True

    def failed(self, error: BaseException) -> Retry | DeadLetter:
        """What becomes of a message whose handler raised ``error``; ends a child that the handler has forked."""
        if FORKED:
            leave(self._handler, error)
        return failure(error, self._handler)

    def told(self, slot: Slot, outcome: Outcome) -> Outcome:
        """What becomes of a message whose handler may have been told to stop: where it was then is in its traceback.

        Ends a child that the handler has forked, and returned from.
        """
        if FORKED:
            leave(self._handler)
        told = self._interrupted.pop(slot, None)
        if told is None:
            return outcome
        self._left.append((monotonic(), told[1]))
        return replace(told[0], traceback=getattr(outcome, "traceback", ""))

    def trace(self, slot: Slot) -> str:
        """Where the handler in ``slot`` is, as far as it keeps the event loop."""
        thread, frame = self._thread, None
        if thread is not None and self._holder() is slot:
            frame = sys._current_frames().get(thread.ident or 0)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def look(self, now_s: float) -> None:
        """Note what keeps the event loop; called often, by one thread."""
        if self._thread is not None:
            self._blocks.look(now_s)

    def held_up_s(self, slot: Slot, since_s: float) -> float:
        """For how long since ``since_s`` the handler in ``slot`` could not go on, as another kept the event loop."""
        return self._blocks.within_s(slot, since_s, left=_CallbackOf(slot))

    def can_go_on(self, slot: Slot) -> bool:
        """Whether the handler in ``slot`` may end; none does that waits for a loop which will not come back."""
        return not (self.has(slot) and self._blocks.is_hung(by=_is_given_up))

    def is_worn(self, before_s: float) -> bool:
        """Whether a thread works for a handler stopped before ``before_s``, told once, or many for such as are over."""
        found = self._threads.are_kept
        while self._left and self._left[0][0] < before_s:
            found |= self._threads.is_at_work_for(self._left.popleft()[1])
        return found

    def _holder(self) -> Slot | _CallbackOf | None:
        """The slot whose handler the event loop is at, or a task that was started for its message, or a callback."""
        task = asyncio.current_task(self.loop)
        if task is None:
            message = self._message_of_callback()
        else:
            message = task.message if isinstance(task, HandlerTask) else None
        if message is None or message.over_s is not None:
            return None
        return message.slot if task is not None else _CallbackOf(message.slot)

    def _message_of_callback(self) -> Asker | None:
        frame = sys._current_frames().get(self._thread.ident or 0) if self._thread is not None else None
        while frame is not None and frame.f_code is not asyncio.Handle._run.__code__:
            frame = frame.f_back
        context = getattr(frame.f_locals.get("self"), "_context", None) if frame is not None else None
        return context.get(asked_by) if context is not None else None

    def _begin(self, slot: Slot, works: Sequence[Any], done: Future[None]) -> None:
        def end(_: object) -> None:
            if self.tasks.get(slot) is task:
                del self.tasks[slot]
            try:
                task.result()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self.tasks[slot] = task = HandlerTask(self._do(works), loop=self.loop)
        task.add_done_callback(end)

    async def _do(self, works: Sequence[Any]) -> None:
        try:
            await finish(works)
        except BaseException as error:
            if FORKED:
                leave(self._handler, error)
            raise
        if FORKED:
            leave(self._handler)

    def _cancel(self, slot: Slot, run: Run, outcome: Retry) -> None:
        task = self.tasks.get(slot)
        if task is not None and slot.run is run:
            self._interrupted[slot] = outcome, task.message
            task.cancel()

    def _run_for_ever(self) -> None:
        """Whatever runs in it: a SystemExit in a task is passed on and stops it."""
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                self.loop.run_forever()
            except BaseException as error:
                if FORKED:
                    leave(self._handler, error)
                self._log("something in the handlers' event loop tried to end it", error)
            else:
                self._log("something in the handlers' event loop stopped it")

    def _tell(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._log(str(context.get("message", "a task or a callback failed")), context.get("exception"))

    def _log(self, what: str, error: BaseException | None = None) -> None:
        """As anybody may read it. Nothing that a log raises, an exit neither, may end the loop."""
        with suppress(BaseException):
            what = self._handler.shown(what)
            if error is None:
                log.error("%s", what)
                return
            told: Any = failure(error, self._handler)
            log.error("%s: %s\n%s", what, told.error, told.traceback)


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **settings: Any) -> HandlerTask:
    return HandlerTask(coroutine, loop=loop, **settings)


@dataclass(frozen=True, slots=True)
class _CallbackOf:
    """What the handler in ``slot`` has left to the event loop: it may be a library's, and is no work of the handler."""

    slot: Slot


def _is_given_up(holder: Slot | _CallbackOf | None) -> bool:
    """Nobody waits for what it does: it is what a message that is over has left behind, or counted out."""
    slot = holder.slot if isinstance(holder, _CallbackOf) else holder
    return slot is None or slot.hung is not None


async def _keep(timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncio's name for it
    """Threads and generators are of all handlers: one that is done with its own does not end them."""
