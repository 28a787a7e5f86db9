"""The one thread that changes anything: it ticks, and between two ticks does what calls ask for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from hermes_ray.scaler.control_loop import ControlLoop
from hermes_ray.scaler.orders import Orders, Permit

__all__ = ["TICK_S", "TickThread"]

log = logging.getLogger(__name__)

TICK_S = 1.0
STOPPING_TICK_S = 0.2
LEAST_PAUSE_S = 0.05  # orders and calls come to their turn even where ticks take longer than their interval
UNHEALTHY_S = 15.0
LAST_WORDS_S = 3.0  # for the driver to fetch the result
FOLLOWERS_S = 1.0  # after one driver has it: hermes stop and the serve that it ends both fetch it

T = TypeVar("T")


class TickThread:
    """Calls ``tick`` each second until it is ``over``, then ``leave``; a tick that fails does not end it.

    It is over when the loop has its result and a driver has seen that, or 3 s after nobody has. ``idle`` is set between
    two ticks: a scrape waits for it.
    """

    def __init__(
        self, loop: ControlLoop, tick: Callable[[], None], leave: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self._loop = loop
        self._tick = tick
        self._leave = leave
        self._clock = clock
        self._woken = threading.Event()
        self._orders = Orders(clock, self._woken.set)
        self._ticked_s = clock()
        self.over = threading.Event()
        self.result_seen = threading.Event()
        self.idle = threading.Event()
        self.idle.set()

    def start(self) -> None:
        """Begin with the first tick."""
        threading.Thread(target=self._run, name="ticks", daemon=True).start()

    def permit(self, lasts_s: float) -> Permit:
        """What an order that is given within ``lasts_s`` is to be accompanied by."""
        return self._orders.permit(lasts_s)

    def do(self, permit: Permit, action: Callable[[], T], *, saves: bool = True) -> T:
        """Have ``action`` done between two ticks, and wait until what it changed is on disk.

        Raises what it raises, and ``OperationFailed`` if it was not done in time.
        """
        if self.over.is_set():
            raise RuntimeError("this scaler is ending")

        def act() -> T:
            answer = action()
            if saves:
                self._loop.save(self._clock(), at_once=True)
            return answer

        return self._orders.give(permit, act)

    def unhealthy(self) -> str | None:
        """How long no tick has ended, once that is too long."""
        silent_s = self._clock() - self._ticked_s
        return f"the last tick ended {silent_s:.0f} s ago" if silent_s > UNHEALTHY_S else None

    def _run(self) -> None:
        while not self.over.is_set():
            started_s = time.monotonic()
            self._tick_once(started_s)
            if self._loop.result is not None:
                self.over.set()
                if self.result_seen.wait(LAST_WORDS_S):
                    time.sleep(FOLLOWERS_S)
            interval_s = TICK_S if self._loop.stop_by_s is None else STOPPING_TICK_S
            self._woken.wait(max(LEAST_PAUSE_S, interval_s - (time.monotonic() - started_s)))
            self._woken.clear()
            self._orders.carry_out()
        self._leave()

    def _tick_once(self, started_s: float) -> None:
        self.idle.clear()
        try:
            self._tick()
        except Exception:
            log.exception("this tick failed; the next one starts afresh")
            return
        finally:
            self.idle.set()
        self._loop.tick_s = time.monotonic() - started_s
        self._ticked_s = self._clock()
