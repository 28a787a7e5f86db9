"""One slot, where one message at a time is handled: what it counts, and what a failure means.

A handler may still run when its message is given up on: whoever takes the run out of the slot settles it, its slot once
the handler has returned or the watch over time limits before, and nobody a second time.
"""

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

__all__ = ["Run", "Settle", "Slot", "SlotFigures", "failure", "figures_of"]

Settle = Callable[[Delivery, Outcome], None]
Run = tuple[float, Delivery]
"""When a handler was called, monotonic, and with what."""


_MOST_ERRORS, _MOST_TOLD = 10_000, 100  # that led to one another or are grouped: to write more down takes too long
_FIRST_MS = 946_684_800_000  # the year 2000: a sender that says an earlier time knows none


class Slot:
    """Counts of one slot, written by that slot alone: no lock, no lost update.

    ``hung`` is a run that was counted out, for as long as its handler goes on; the slot takes no other message then.
    """

    __slots__ = ("_run", "_standstill", "durations", "finished", "finished_s", "hung", "service", "wait", "wait_s")

    def __init__(self, standstill: Standstill) -> None:
        self._standstill = standstill
        self._run: list[Run] = []  # one at most; a list, since who takes it out of one is nobody else
        self.hung: Run | None = None
        self.finished = 0
        self.finished_s = 0.0
        self.wait_s = 0.0
        self.service = [0] * BUCKET_COUNT
        self.wait = [0] * BUCKET_COUNT
        self.durations = [0] * (len(DURATION_BUCKETS_S) + 1)

    def begin(self, delivery: Delivery) -> None:
        """The handler is called with ``delivery`` now."""
        eligible_ms = eligible_ms_of(delivery.raw)
        if eligible_ms is not None and eligible_ms > _FIRST_MS:
            wait_s = max(0.0, time.time() - eligible_ms / 1000)  # clocks of two machines may disagree
            self.wait[bucket(wait_s)] += 1
            self.wait_s += wait_s
        self._run.append((time.monotonic(), delivery))

    def end(self) -> bool:
        """The handler has returned; whether its message is this slot's to settle, not counted out before."""
        try:
            started_s, _ = self._run.pop()
        except IndexError:
            self.hung = None
            return False
        self._count(started_s)
        return True

    def count_out(self, run: Run) -> bool:
        """Give up on ``run``, which its slot will not settle; whether it was not over by now. For another thread."""
        self.hung = run  # before it is out: its slot forgets it again where it ends at this moment
        try:
            self._run.remove(run)
        except ValueError:
            self.hung = None
            return False
        self._count(run[0])
        return True

    @property
    def run(self) -> Run | None:
        """What the handler is at; None when the slot is idle or counted out."""
        try:
            return self._run[0]
        except IndexError:
            return None

    def _count(self, started_s: float) -> None:
        took_s = self.working_s(started_s)
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
    running = [slot.working_s(run[0]) for slot in slots if (run := slot.run) is not None]
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


def failure(error: BaseException, handler: Handler) -> Retry | DeadLetter:
    """What becomes of a message whose handler raised ``error``; never raises, whatever an error of its own kind does.

    Nothing of the traceback is kept: an error that is raised again and again would gather all its messages in it.
    """
    try:
        is_permanent = any(isinstance(each, PermanentError) for each in _together_with(error, causes=False))
        is_short = len(_together_with(error, once=False)) < _MOST_TOLD
        text, trace = handler.sentence_of(error), handler.trace_of(error) if is_short else ""
        for each in _together_with(error):
            BaseException.with_traceback(each, None)
    except BaseException:
        is_permanent, text, trace = False, "the handler raised what cannot be told", ""
    if is_permanent:
        return DeadLetter(reason="permanent", error=text, traceback=trace)
    return Retry(error=text, traceback=trace)


def _together_with(error: BaseException, *, causes: bool = True, once: bool = True) -> list[BaseException]:
    """``error``, what it groups and, with ``causes``, what has led to it; ``once`` each, or as often as it is told."""
    found, seen = [error], {id(error)}
    for each in found:
        inner = list(BaseExceptionGroup.exceptions.__get__(each)) if isinstance(each, BaseExceptionGroup) else []
        for more in inner + ([each.__cause__, each.__context__] if causes else []):
            if more is not None and len(found) < _MOST_ERRORS and not (once and id(more) in seen):
                seen.add(id(more))
                found.append(more)
    return found


def _together(counts: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*counts, strict=True)))
