"""How many deliveries a worker holds: enough that no slot waits for the broker, few enough that none hoards."""

from __future__ import annotations

import math

__all__ = ["prefetch_count", "slots_per_worker"]

_BUFFER_S = 0.2  # of work kept at hand: far more than a round trip, far less than a latency objective
_MAX_PREFETCH = 500


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
    if service_s is None:
        return concurrency
    buffered = concurrency * _BUFFER_S / max(service_s, 1e-6)
    return max(concurrency, min(_MAX_PREFETCH, math.floor(concurrency + buffered)))
