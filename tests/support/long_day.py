"""A worker whose day lasts less than four minutes: its clocks run 400 times as fast once it consumes.

Its waits are as much shorter, a millisecond at least, so that all that looks at the time looks as often as in a day.
The broker has another clock: what is waited for it, and held at hand meanwhile, is as in a day that lasts one.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

FASTER = 400
LEAST_WAIT_S = 0.001


class Clock:
    """What stands for ``time.monotonic`` and ``time.time``."""

    def __init__(self) -> None:
        self._real_s, self._sleep = time.monotonic, time.sleep
        self._ahead_s = time.time() - time.monotonic()
        self._faster, self._from_s = 1, 0.0

    def run_faster(self) -> None:
        self._from_s, self._faster = self._real_s(), FASTER

    def passed_s(self) -> float:
        """Since it has run faster."""
        return self.monotonic() - self._from_s

    def monotonic(self) -> float:
        return self._from_s + (self._real_s() - self._from_s) * self._faster

    def time(self) -> float:
        return self.monotonic() + self._ahead_s

    def shorter_s(self, wait_s: float) -> float:
        return wait_s if self._faster == 1 else max(wait_s / self._faster, min(wait_s, LEAST_WAIT_S))

    def sleep(self, wait_s: float) -> None:
        self._sleep(self.shorter_s(wait_s))


def patched() -> Clock:
    """The clock that everything imported from now on goes by."""
    clock, wait = Clock(), threading.Condition.wait

    def shorter(condition: threading.Condition, timeout: float | None = None) -> bool:
        return wait(condition, None if timeout is None else clock.shorter_s(timeout))

    for module, name, value in (
        (time, "monotonic", clock.monotonic),
        (time, "time", clock.time),
        (time, "sleep", clock.sleep),
        (threading.Condition, "wait", shorter),
    ):
        setattr(module, name, value)
    return clock


def main() -> None:
    """Consume until SIGTERM, then print what was counted."""
    clock = patched()
    from hermes_ray.broker import ack_pace, answer_watch, consumer, delivery_watch, link, publisher
    from hermes_ray.worker import prefetch
    from hermes_ray.worker.report import decode
    from hermes_ray.worker.worker import Worker
    from tests.support.workers import Diary, spec

    class Outlet(Diary):
        count = 0

        def report(self, report: bytes) -> float:
            self.count += 1
            said: Any = decode(report)
            if self.count % 100 == 0 or said.phase == "drained":
                super().report(report)
            return 10.0

    for module, name in (
        (ack_pace, "FLUSH_DELAY_S"),
        (answer_watch, "TRY_AGAIN_S"),
        (consumer, "LOST_AFTER_S"),
        (delivery_watch, "LOOK_EVERY_S"),
        (link, "SET_UP_S"),
        (prefetch, "_BUFFER_S"),
        (publisher, "_SILENCE_S"),
    ):
        setattr(module, name, FASTER * getattr(module, name))
    outlet = Outlet()
    worker = Worker(spec(*sys.argv[1:3], queue_type="classic", rungs_ms=(100,)), outlet)
    while worker.state().phase != "consuming":
        time.sleep(0.01)
    clock.run_faster()
    while not outlet.ended.wait(600.0):
        pass
    sys.stdout.write(json.dumps({"hours": clock.passed_s() / 3600, "reports": outlet.count, **outlet.last}))


if __name__ == "__main__":
    main()
