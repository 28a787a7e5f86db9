"""One slot, where one message at a time is handled: what it counts, and what a failure means."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.outgoing import eligible_ms_of
from hermes_ray.core.histogram import BUCKET_COUNT, DURATION_BUCKETS_S, bucket
from hermes_ray.errors import PermanentError
from hermes_ray.outcome import DeadLetter, Outcome, Retry
from hermes_ray.worker.counters import RunCounts
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.standstill import LEAST_S, Standstill

__all__ = ["Settle", "Slot", "SlotFigures", "failure", "figures_of"]

Settle = Callable[[Delivery, Outcome], None]


class Slot:
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

    def begin(self, raw: bytes) -> None:
        eligible_ms = eligible_ms_of(raw)
        if eligible_ms is not None:
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


def figures_of(slots: Sequence[Slot]) -> SlotFigures:
    """All of them together."""
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


def failure(error: BaseException, handler: Handler) -> Outcome:
    """What becomes of a message whose handler raised ``error``."""
    text, trace = handler.sentence_of(error), handler.trace_of(error)
    if isinstance(error, PermanentError):
        return DeadLetter(reason="permanent", error=text, traceback=trace)
    return Retry(error=text, traceback=trace)


def _together(counts: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*counts, strict=True)))
