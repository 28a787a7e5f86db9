"""How many deliveries a worker holds: enough that no slot waits for the broker, few enough that none hoards."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["RecentRuns", "prefetch_count", "slots_per_worker"]

_BUFFER_S = 0.2  # of work kept at hand: far more than a round trip, far less than a latency objective
_MAX_PREFETCH = 500
_RECENT_S = 30.0
_LEAST_RUNS = 20


def slots_per_worker(concurrency: int | None, prefetch: int | None, default: int) -> int:
    """Messages one worker handles at once: as configured or ``default``, and never more than it holds.

    ``prefetch`` 8 leaves an async handler, 32 by default, 8 slots: the others would be counted and have no message.
    """
    slots = concurrency or default
    return min(slots, prefetch or slots)


def prefetch_count(service_s: float | None, concurrency: int) -> int:
    """Deliveries a worker should hold: one per slot plus 0.2 s of work, at most 500 (or one per slot, if that is more).

    4 slots: 4 while the service time is unknown or long, 84 at 10 ms a message.
    """
    buffered = 0.0 if service_s is None else concurrency * _BUFFER_S / max(service_s, 1e-6)
    return max(concurrency, min(_MAX_PREFETCH, math.floor(concurrency + buffered)))


class RecentRuns:
    """What a message takes of late, in the slots of one worker: of the last 20 runs or more, or those of 30 s.

    After 30,000 fast runs the mean of a life says nothing about messages of 10 s that come now.
    """

    def __init__(self, slot_count: int) -> None:
        self._slot_count = slot_count
        self._seen: deque[tuple[float, int, float]] = deque()  # when, runs that had finished, seconds of work

    def note(self, now_s: float, finished: int, busy_s: float) -> None:
        """So many runs had finished at ``now_s``; ``busy_s`` has those in it that go on."""
        self._seen.append((now_s, finished, busy_s))
        while now_s - self._seen[0][0] > _RECENT_S:
            self._seen.popleft()

    def service_s(self) -> float | None:
        """Seconds a run; None while too little is known of it.

        At least what those take that go on: with 4 slots, of which none has finished one for 3 s, 3 s.
        """
        least_s = 0.0
        for _, finished, busy_s in reversed(self._seen):
            runs, worked_s = self._seen[-1][1] - finished, self._seen[-1][2] - busy_s
            least_s = max(least_s, worked_s / (runs + self._slot_count))
            if runs >= _LEAST_RUNS:
                return max(least_s, worked_s / runs)
        # Of runs that go on only the least is known: too little to hold half as many more by, as 0.25 s would be.
        return least_s if least_s > 2 * _BUFFER_S else None
