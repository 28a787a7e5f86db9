"""Times in which the process stood still: stopped by a signal, frozen, or its machine paused.

No handler worked then, so such a time is no part of what a message takes. A thread that waits with a timeout tells: it
wakes up late. Where a handler holds the interpreter's lock it is late too, but asks for the lock some 150 times a
second; a thread that used no processor stood still (measured: 4.8 ms of it a second, none when stopped).
"""

from __future__ import annotations

import threading
import time
from collections import deque

__all__ = ["LEAST_S", "Standstill"]

LEAST_S = 1.0
_PIECE_S = 1.0
_BUSY_RATIO = 1e-3
_KEPT = 16  # a message in hand for so long that it has seen more of them counts the oldest as work


class Standstill:
    """Notices standstills while one thread is in ``wait``; any thread may ask how much of them lies in its work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: deque[tuple[float, float]] = deque(maxlen=_KEPT)  # from, to, monotonic
        self._waiting: tuple[int, float, float] | None = None  # processor clock, what it said, when the wait ends

    def wait(self, event: threading.Event, timeout_s: float) -> None:
        """Wait for ``event``, ``timeout_s`` at most, and notice standstills of ``LEAST_S`` and more."""
        clock = time.pthread_getcpuclockid(threading.get_ident())
        end_s = time.monotonic() + timeout_s
        while (left_s := end_s - time.monotonic()) > 0 and not event.is_set():
            piece_s = min(left_s, _PIECE_S)
            with self._lock:
                self._waiting = clock, time.clock_gettime(clock), time.monotonic() + piece_s
            event.wait(piece_s)
            self._look()
        with self._lock:
            self._waiting = None

    def watch(self, end: threading.Event) -> None:
        """Do nothing else until ``end``."""
        while not end.is_set():
            self.wait(end, 60.0)

    def within_s(self, since_s: float) -> float:
        """How long the process stood still since ``since_s``, monotonic."""
        self._look()
        with self._lock:
            return sum(max(0.0, to_s - max(from_s, since_s)) for from_s, to_s in self._found)

    def _look(self) -> None:
        """Whoever comes first after a standstill notes it: a slot may be back at work before the thread that waits."""
        with self._lock:
            now_s = time.monotonic()
            if self._waiting is None or now_s - self._waiting[2] < LEAST_S:
                return
            clock, before_s, due_s = self._waiting
            used_s = time.clock_gettime(clock) - before_s
            if used_s < _BUSY_RATIO * (now_s - due_s):
                self._found.append((due_s, now_s))
            self._waiting = clock, before_s + used_s, now_s
