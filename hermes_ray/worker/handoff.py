"""Handing deliveries from the I/O thread to slot threads with few wake-ups.

A queue that wakes a waiter per item makes all slots fight for the interpreter over messages that one of them would have
handled in microseconds. Here one waiter is woken at a time, and it wakes the next once it runs: handlers that wait or
release the interpreter start one after the other at once, and trivial ones are left to the slot that is awake.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress

from hermes_ray.broker.delivery import Delivery

__all__ = ["Handoff", "take_back"]


class Handoff:
    """A queue with one producer; each consumer thread iterates over it, for ever."""

    def __init__(self) -> None:
        self._buffer: deque[Delivery] = deque()
        self._idle: deque[threading.Lock] = deque()
        self._waking = False

    def put(self, batch: Sequence[Delivery]) -> None:
        """Queue a batch."""
        self._buffer.extend(batch)
        if not self._waking:
            self._wake_one()

    def take_back(self, up_to: tuple[int, int] | None = None) -> list[Delivery]:
        """Take back what no consumer has got, see ``take_back``."""
        return take_back(self._buffer, up_to)

    def __iter__(self) -> Iterator[Delivery]:
        buffer, idle = self._buffer, self._idle
        delivery: Delivery | None
        asleep = threading.Lock()
        asleep.acquire()
        try:
            while True:
                try:
                    delivery = buffer.popleft()
                except IndexError:
                    delivery = None  # while this thread waits its last message would be kept
                    idle.append(asleep)
                    # A put between popleft and idle.append found no idle thread and woke none: look once more.
                    if not buffer or not _withdraw(idle, asleep):
                        asleep.acquire()
                        self._waking = False
                    continue
                if idle and buffer and not self._waking:
                    self._wake_one()
                yield delivery
        finally:  # an exception that a handler has left for its thread: whoever was to be woken here is not
            _withdraw(idle, asleep)
            self._waking = False
            if buffer:
                self._wake_one()

    def _wake_one(self) -> None:
        while True:
            self._waking = True
            try:
                self._idle.pop().release()
                return
            except IndexError:
                self._waking = False
            # A put that saw _waking set woke nobody. If a thread has gone idle since, that batch would lie: look again.
            if not (self._idle and self._buffer):
                return


def take_back(buffer: deque[Delivery], up_to: tuple[int, int] | None = None) -> list[Delivery]:
    """The first ones of ``buffer`` up to an epoch and tag, or all, in their order.

    Whoever else takes from it meanwhile, each is taken once; of those ``up_to`` there may be one more then.
    """
    taken: list[Delivery] = []
    with suppress(IndexError):
        while up_to is None or (buffer[0].epoch, buffer[0].tag) <= up_to:
            taken.append(buffer.popleft())
    return taken


def _withdraw(idle: deque[threading.Lock], asleep: threading.Lock) -> bool:
    """Remove a thread's lock from the idle ones; False if another thread has taken it and will release it."""
    try:
        idle.remove(asleep)
    except ValueError:
        return False
    return True
