"""Settling deliveries: which acks go on the wire, and how long a failed message waits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

__all__ = ["AckLedger", "prefetch_count", "retry_rung_ms", "rungs_ms"]

_BUFFER_S = 0.2  # of work kept at hand: far more than a round trip, far less than a latency objective
_MAX_PREFETCH = 500


class AckLedger:
    """The delivery tags of one channel epoch: what is open, what may be acked, in how few frames.

    Tags count up from 1 on a channel. ``multiple=True`` is used for the contiguous prefix of tags only, so it never
    covers one that still runs, is buffered or waits for a confirm; tags settled beyond the prefix get an ack each, so a
    slow early message holds nothing back. Not thread-safe: one I/O thread owns it.
    """

    __slots__ = ("_gone", "_last", "_prefix", "_settled")

    def __init__(self) -> None:
        self._last = 0  # the highest tag delivered
        self._prefix = 0  # every tag up to here is off our hands
        self._gone: set[int] = set()  # tags beyond the prefix that the broker no longer holds for us
        self._settled: set[int] = set()  # tags whose ack is due

    def add(self, first: int, last: int) -> None:
        """Deliveries ``first`` to ``last`` arrived. Tags skipped since the ones before were given back below us."""
        if first > self._last + 1:
            self._gone.update(range(self._last + 1, first))
        self._last = last

    def settle(self, tag: int) -> None:
        """The ack of ``tag`` is due."""
        self._settled.add(tag)

    def give_back(self, tag: int) -> None:
        """``tag`` was nacked on the wire: no ack may follow."""
        self._gone.add(tag)

    @property
    def open_count(self) -> int:
        """Deliveries the broker still holds for this channel."""
        return self._last - self._prefix - len(self._gone)

    @property
    def due_count(self) -> int:
        """Acks not yet taken by ``flush``."""
        return len(self._settled)

    def flush(self) -> list[tuple[int, bool]]:
        """The acks to send now, in order, as ``(tag, multiple)``.

        Of tags 1 to 6 with 3 running and the rest settled: ``[(2, True), (4, False), (5, False), (6, False)]``.
        """
        settled, gone = self._settled, self._gone
        prefix = self._prefix
        covered = 0
        while True:
            tag = prefix + 1
            if tag in settled:
                settled.remove(tag)
                covered = tag
            elif tag in gone:
                gone.remove(tag)
            else:
                break
            prefix = tag
        self._prefix = prefix
        acks = [(covered, True)] if covered else []
        if settled:
            acks.extend((tag, False) for tag in sorted(settled))
            gone.update(settled)
            settled.clear()
        return acks


def rungs_ms(base_delay_s: float, max_delay_s: float, max_attempts: int) -> tuple[int, ...]:
    """Every delay a retry of this policy can have, in ms, ascending: ``base_delay_s x 2^(k/2)`` up to ``max_delay_s``.

    The n-th failure (from 1) waits about ``base x 2^(n-1)``, rung k = 2(n-1), jittered one rung either way; the last
    retry follows failure ``max_attempts - 1``. Base 1 s, 5 attempts: 1000, 1414, 2000, ... 11314 (k = 0 to 7).
    """
    if max_attempts < 2:
        return ()
    highest = 2 * (max_attempts - 2) + 1
    rungs: list[int] = []
    for k in range(highest + 1):
        delay_s = base_delay_s * 2 ** (k / 2)
        if rungs and delay_s > max_delay_s * (1 + 1e-9):
            break
        rungs.append(max(1, round(1000 * delay_s)))
    return tuple(dict.fromkeys(rungs))


def retry_rung_ms(rungs: Sequence[int], failures: int, choose: Callable[[Sequence[int]], int]) -> int:
    """The delay in ms after ``failures`` (>= 1) failed attempts: ``choose`` picks a rung below, at or above 2^(n-1).

    ``choose`` is given one to three rungs and draws uniformly. After the 3rd failure of base 1 s: 2828, 4000 or 5657.
    """
    middle = min(2 * (failures - 1), len(rungs) - 1)
    return choose(rungs[max(0, middle - 1) : middle + 2])


def prefetch_count(service_s: float | None, concurrency: int) -> int:
    """Deliveries a worker should hold: one per slot plus 0.2 s of work, at most 500 (or one per slot, if that is more).

    4 slots: 4 while the service time is unknown or long, 84 at 10 ms a message.
    """
    if service_s is None:
        return concurrency
    buffered = concurrency * _BUFFER_S / max(service_s, 1e-6)
    return max(concurrency, min(_MAX_PREFETCH, math.floor(concurrency + buffered)))
