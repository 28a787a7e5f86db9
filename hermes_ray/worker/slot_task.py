"""What an async handler takes for its own: the task of its slot, and threads."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from time import monotonic
from typing import Any

from hermes_ray.worker.forked import FORKED, leave
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.slot import Slot

__all__ = ["Asker", "HandlerTask", "HandlerThreads", "SlotTask", "asked_by"]

_LASTING_S = 10.0  # what a thread does for so long for a message that is over is no more on its way: it hangs


class Asker:
    """A message in ``slot``: its handler, and all that it leaves behind, runs in a context that names it."""

    __slots__ = ("over_s", "slot")

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.over_s: float | None = None  # since when, monotonic


asked_by: ContextVar[Asker] = ContextVar("the message whose handler, or what it has left behind, runs now")


class HandlerTask(asyncio.Task[Any]):
    """A task of the handlers' event loop; ``message`` is the one whose handler, or what is left of it, started it."""

    def __init__(self, coroutine: Any, *, context: contextvars.Context | None = None, **settings: Any) -> None:
        self.message = asked_by.get(None) if context is None else context.get(asked_by)  # first: it may run at once
        super().__init__(coroutine, context=context, **settings)


class SlotTask(HandlerTask):
    """The task of a slot. ``message`` is the one that it handles now; ``is_asked``: somebody has asked for its end.

    Whoever waits for it, or wants to be called when it is done (``is_waiting``), means the message that it handles: it
    ends with that, and the slot has another task.

    Where a handler cancels its task when it has returned, its slot handles another message by then: that is refused,
    as it would have no effect on a task that is over. Whoever is not of an earlier message of this slot may.
    """

    is_asked = False
    is_waiting = False

    def __init__(
        self, work: Any, slot: Slot, loop: asyncio.AbstractEventLoop, on_end: Callable[[SlotTask], object]
    ) -> None:
        super().__init__(work, loop=loop, context=contextvars.Context())
        super().add_done_callback(on_end)
        self._slot = slot

    def of_next_message(self) -> Callable[..., Any]:
        """A handler is called next; returns what runs each step of it in a context of its own."""
        self.message = message = Asker(self._slot)
        run = contextvars.copy_context().run
        run(asked_by.set, message)
        return run

    def end_message(self) -> None:
        """The handler has returned."""
        if self.message is not None:
            self.message.over_s, self.message = monotonic(), None

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: contextvars.Context | None = None) -> None:
        """Call ``fn`` when the message that is handled now is over; between two soon, as of a task that is done."""
        super().add_done_callback(fn, context=context)
        self.is_waiting = True
        if self.message is None:
            super().cancel()

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel what the slot does now, unless one of its earlier messages asks."""
        asker = asked_by.get(None)
        if asker is not None and asker.slot is self._slot and asker is not self.message:
            return False
        self.is_asked = True
        return super().cancel(msg)


class HandlerThreads(ThreadPoolExecutor):
    """The threads of ``asyncio.to_thread``: one per slot at least; it knows for which messages they are at work."""

    def __init__(self, slot_count: int, handler: Handler) -> None:
        super().__init__(max(32, slot_count), thread_name_prefix="to_thread")
        self._handler = handler
        self._at_work: dict[object, tuple[Asker, float]] = {}  # for which message, and since when

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As any executor does."""
        asker = asked_by.get(None)
        if asker is None:
            return super().submit(fn, *args, **kwargs)
        return super().submit(self._work_for, asker, fn, *args, **kwargs)

    @property
    def are_kept(self) -> bool:
        """Whether half of them have been for long at what messages wanted that are over."""
        before_s = monotonic() - _LASTING_S
        kept = [began_s for asker, began_s in self._now() if asker.over_s is not None and began_s < before_s]
        return len(kept) >= self._max_workers // 2

    def is_at_work_for(self, message: Asker) -> bool:
        """Whether a thread still does what its handler has asked for; jobs that have begun since are a service's."""
        over_s = message.over_s
        return any(asker is message and (over_s is None or began_s < over_s) for asker, began_s in self._now())

    def _now(self) -> list[tuple[Asker, float]]:
        return list(self._at_work.copy().values())

    def _work_for(self, asker: Asker, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        job = object()
        self._at_work[job] = asker, monotonic()
        try:
            result = fn(*args, **kwargs)
            if FORKED:
                leave(self._handler)
            return result
        except BaseException as error:
            if FORKED:
                leave(self._handler, error)
            raise
        finally:
            del self._at_work[job]
