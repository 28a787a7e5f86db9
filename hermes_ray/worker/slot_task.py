"""What an async handler takes for its own: the task of its slot, and threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

__all__ = ["HandlerThreads", "SlotTask"]

Asker = tuple["SlotTask", int]
"""A message of a slot: its handler, and all that it leaves behind, runs in a context that names it."""

_asked_by: ContextVar[Asker] = ContextVar("the message whose handler, or what it has left behind, runs now")


class SlotTask(asyncio.Task[None]):
    """The task of a slot. ``message`` is the one that it handles now; ``is_asked``: somebody has asked for its end.

    Where a handler cancels its task when it has returned, its slot handles another message by then: that is refused,
    as it would have no effect on a task that is over. Whoever is not of an earlier message of this slot may.
    """

    message: Asker | None = None
    is_asked = False
    _number = 0

    def of_next_message(self) -> Callable[..., Any]:
        """A handler is called next; returns what runs each step of it in a context of its own."""
        self._number += 1
        self.message = message = (self, self._number)
        run = contextvars.copy_context().run
        run(_asked_by.set, message)
        return run

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel what the slot does now, unless one of its earlier messages asks."""
        asker = _asked_by.get(None)
        if asker is not None and asker[0] is self and asker is not self.message:
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
        if (asker := _asked_by.get(None)) is not None:
            self._count(asker, 1)
            future.add_done_callback(lambda _: self._count(asker, -1))
        return future

    @property
    def are_kept(self) -> bool:
        """Whether half of them are at work for messages that are over."""
        with self._lock_of_counts:
            kept = sum(count for asker, count in self._at_work.items() if asker[0].message is not asker)
        return kept >= self._max_workers // 2

    def is_at_work_for(self, message: Asker) -> bool:
        """Whether a thread still does what its handler has asked for."""
        return self._at_work[message] > 0

    def _count(self, asker: Asker, change: int) -> None:
        with self._lock_of_counts:
            self._at_work[asker] += change
            if not self._at_work[asker]:
                del self._at_work[asker]
