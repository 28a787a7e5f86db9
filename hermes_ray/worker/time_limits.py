"""How long a handler may take: by ``worker.timeout_s``, and by the broker, which takes back what is not settled.

An async handler is cancelled; a sync one cannot be, and neither can one that swallows its cancellation or never leaves
the event loop: those are counted out, so that their messages are settled, and their worker is to be replaced.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.properties import Properties
from hermes_ray.logs import Log
from hermes_ray.message import legible
from hermes_ray.outcome import Retry
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.slot import Run, Settle, Slot

__all__ = ["Hung", "Limited", "TimeLimits", "hung_after_s"]

log = Log(__name__)

CANCEL_S = 2.0  # a cancelled handler ends within this, else it does not
HUNG_AFTER_S, HUNG_RUNS = 60.0, 20.0
_LOOKS_PER_LIMIT = 20
_LOOK_EVERY_S = 0.01, 0.2


@dataclass(frozen=True, slots=True)
class Hung:
    """``count`` handlers hang; the one that does for longest has been at ``message_id`` for ``seconds``."""

    count: int = 0
    message_id: str | None = None
    seconds: float = 0.0


class Limited(Protocol):
    """The slots whose handlers are watched."""

    @property
    def slots(self) -> Sequence[Slot]:
        """All of them."""

    def interrupt(self, slot: Slot, run: Run, outcome: Retry) -> bool:
        """Tell the handler to stop, and settle its message with ``outcome`` then; whether it can be told."""

    def trace(self, slot: Slot) -> str:
        """Where the handler in ``slot`` is."""

    def look(self, now_s: float) -> None:
        """Note what keeps handlers from going on; called often."""

    def held_up_s(self, slot: Slot, since_s: float) -> float:
        """For how long since ``since_s`` another handler has kept this one from going on."""

    def is_worn(self, before_s: float) -> bool:
        """Whether handlers, such as were stopped before ``before_s``, have left the slots in a bad way: told once."""


def hung_after_s(mean_s: float, finished_meanwhile: int) -> float:
    """After how long a handler hangs: a minute, and 20 times what others take, of which some finished meanwhile.

    A mean of 10 s: after 200 s. Without one that has finished, what they all wait for may hang: never.
    """
    return max(HUNG_AFTER_S, HUNG_RUNS * mean_s) if finished_meanwhile > 0 else math.inf


class TimeLimits:
    """Watches the handlers of ``slots`` from ``start`` on, in a thread of its own.

    ``is_overdue`` tells of a delivery that has run for so many seconds whether the broker takes it back. ``settle`` is
    given what is counted out, and ``on_counted_out`` called for each.
    """

    def __init__(
        self,
        slots: Limited,
        handler: Handler,
        *,
        timeout_s: float | None,
        is_overdue: Callable[[Delivery, float], bool],
        settle: Settle,
        on_counted_out: Callable[[], None],
    ) -> None:
        self._slots = slots
        self._handler = handler
        self._timeout_s = timeout_s
        self._is_overdue = is_overdue
        self._settle = settle
        self._on_counted_out = on_counted_out
        self._told: dict[Slot, tuple[Run, float]] = {}  # what was told to stop, and when
        self._since: dict[Slot, tuple[Run, int]] = {}  # what has been seen, and how many runs had finished by then

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._watch, name="time limits", daemon=True).start()

    def look(self, now_s: float) -> None:
        """Stop what is beyond its time at ``now_s``, monotonic."""
        self._slots.look(now_s)
        if self._slots.is_worn(now_s - CANCEL_S):
            self._on_counted_out()
        finished = sum(slot.finished for slot in self._slots.slots)
        for slot in self._slots.slots:
            run = slot.run
            if run is None:
                self._since.pop(slot, None)
                self._told.pop(slot, None)
                continue
            if slot not in self._since or self._since[slot][0] is not run:
                self._since[slot] = run, finished
            why = self._why(slot, run)
            if why is not None:
                self._stop(slot, run, Retry(error=why, traceback="", reason="timeout"), now_s)

    def hung(self, now_s: float) -> Hung:
        """The handlers that hang: counted out, or far longer at a message than others were meanwhile."""
        slots = self._slots.slots
        finished, finished_s = sum(slot.finished for slot in slots), sum(slot.finished_s for slot in slots)
        found = [run for slot in slots if (run := slot.hung) is not None]
        for slot in slots:
            run, seen = slot.run, self._since.get(slot)
            if run is None or seen is None or seen[0] is not run:
                continue
            if self._is_beyond(hung_after_s(finished_s / max(1, finished), finished - seen[1]), slot, run):
                found.append(run)
        if not found:
            return Hung()
        started_s, delivery = min(found, key=lambda run: run[0])
        return Hung(len(found), legible(Properties(delivery.raw).get("message_id")), now_s - started_s)

    def _watch(self) -> None:
        least_s, most_s = _LOOK_EVERY_S
        pause_s = most_s if self._timeout_s is None else self._timeout_s / _LOOKS_PER_LIMIT
        pause_s = min(most_s, max(least_s, pause_s))
        while True:
            time.sleep(pause_s)
            with suppress(Exception):  # of a logging handler: all other slots are looked at next time
                self.look(time.monotonic())

    def _why(self, slot: Slot, run: Run) -> str | None:
        started_s, delivery = run
        if self._timeout_s is not None and self._is_beyond(self._timeout_s, slot, run):
            return f"timeout: the handler ran for longer than worker.timeout_s ({self._timeout_s:g} s)"
        if self._is_overdue(delivery, time.monotonic() - started_s):
            return (
                "timeout: the broker takes back what is not settled within broker.ack_timeout_s, which is nearly over"
            )
        return None

    def _is_beyond(self, limit_s: float, slot: Slot, run: Run) -> bool:
        """Whether the handler has worked for longer; who else has kept it from that is asked only if it matters."""
        worked_s = slot.working_s(run[0])
        return worked_s > limit_s and worked_s - self._slots.held_up_s(slot, run[0]) > limit_s

    def _stop(self, slot: Slot, run: Run, outcome: Retry, now_s: float) -> None:
        told = self._told.get(slot)
        if told is None or told[0] is not run:
            self._told[slot] = run, now_s
            if self._slots.interrupt(slot, run, outcome):
                return
        elif now_s - told[1] - self._slots.held_up_s(slot, told[1]) <= CANCEL_S:
            return
        trace = self._handler.shown(self._slots.trace(slot), end=True)
        if slot.count_out(run):
            self._settle(run[1], replace(outcome, traceback=trace))
            self._on_counted_out()
            # Elsewhere: the handler may hang in the log, and hold it.
            threading.Thread(target=_log, args=(outcome.error,), name="log", daemon=True).start()


def _log(error: str) -> None:
    with suppress(Exception):  # of what a user has the log go to
        log.warning("%s; it goes on, and its worker is replaced", error)
