"""What an async handler takes for its own: the task of its slot, and threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from time import monotonic
from typing import Any

from hermes_ray.worker.slot import Slot

__all__ = ["Asker", "HandlerTask", "HandlerThreads", "SlotTask", "asked_by"]

_LASTING_S = 10.0  # what threads do for a message that is over is no more on its way then: it hangs


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
        super().__init__(coroutine, context=context, **settings)
        self.message = asked_by.get(None) if context is None else context.get(asked_by)


class SlotTask(HandlerTask):
    """The task of a slot. ``message`` is the one that it handles now; ``is_asked``: somebody has asked for its end.

    Where a handler cancels its task when it has returned, its slot handles another message by then: that is refused,
    as it would have no effect on a task that is over. Whoever is not of an earlier message of this slot may.
    """

    is_asked = False

    def __init__(
        self, work: Any, slot: Slot, loop: asyncio.AbstractEventLoop, on_end: Callable[[SlotTask], object]
    ) -> None:
        super().__init__(work, loop=loop, context=contextvars.Context())
        super().add_done_callback(on_end)
        self._slot = slot
        self._at_end: list[tuple[Callable[[Any], object], contextvars.Context]] = []

    def of_next_message(self) -> Callable[..., Any]:
        """A handler is called next; returns what runs each step of it in a context of its own."""
        self.message = message = Asker(self._slot)
        run = contextvars.copy_context().run
        run(asked_by.set, message)
        return run

    def end_message(self) -> None:
        """The handler has returned: what was to be called when its task is done is called soon, and forgotten."""
        if self.message is not None:
            self.message.over_s, self.message = monotonic(), None
        if self._at_end:
            at_end, self._at_end = self._at_end, []
            for call, context in at_end:
                self.get_loop().call_soon(call, self, context=context)

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: contextvars.Context | None = None) -> None:
        """Call ``fn`` when the message that is handled now is over; between two soon, as of a task that is done."""
        context = context or contextvars.copy_context()
        if self.message is None:
            self.get_loop().call_soon(fn, self, context=context)
        else:
            self._at_end.append((fn, context))

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        """Do not call ``fn``; returns how often it would have been called."""
        kept = [each for each in self._at_end if each[0] != fn]
        removed, self._at_end = len(self._at_end) - len(kept), kept
        return removed

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel what the slot does now, unless one of its earlier messages asks."""
        asker = asked_by.get(None)
        if asker is not None and asker.slot is self._slot and asker is not self.message:
            return False
        self.is_asked = True
        return super().cancel(msg)


class HandlerThreads(ThreadPoolExecutor):
    """The threads of ``asyncio.to_thread``: one per slot at least; it knows for which messages they are at work."""

    def __init__(self, slot_count: int) -> None:
        super().__init__(max(32, slot_count), thread_name_prefix="to_thread")
        self._lock_of_counts = threading.Lock()
        self._at_work: Counter[Asker] = Counter()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As any executor does."""
        future = super().submit(fn, *args, **kwargs)
        if (asker := asked_by.get(None)) is not None:
            self._count(asker, 1)
            future.add_done_callback(lambda _: self._count(asker, -1))
        return future

    @property
    def are_kept(self) -> bool:
        """Whether half of them are at work for messages that have been over for long."""
        before_s = monotonic() - _LASTING_S
        with self._lock_of_counts:
            kept = sum(n for asker, n in self._at_work.items() if asker.over_s is not None and asker.over_s < before_s)
        return kept >= self._max_workers // 2

    def is_at_work_for(self, message: Asker) -> bool:
        """Whether a thread still does what its handler has asked for."""
        return self._at_work[message] > 0

    def _count(self, asker: Asker, change: int) -> None:
        with self._lock_of_counts:
            self._at_work[asker] += change
            if not self._at_work[asker]:
                del self._at_work[asker]
