"""The scaler's clock: steady, whatever becomes of the wall clock, and what it means for people.

Everything remembered bears times of this clock. It never jumps: a wall clock that is corrected by an hour must not make
an hour of silence, or of messages, out of nothing. What people read and say is wall time, converted at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

__all__ = ["Anchor", "SteadyClock", "boot_id"]

SHOWN_DRIFT_S = 0.5
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Anchor(Struct, frozen=True, kw_only=True):
    """A moment of the clock of before: ``at_s``, the wall clock then (None of a version before), and the machine's
    uptime under a boot that has a name.
    """

    at_s: float
    boot_id: str | None = None
    uptime_s: float = 0.0
    wall_s: float | None = None


class SteadyClock:
    """Seconds that begin as Unix time and never go back, going on from ``anchor`` if there is one.

    On the boot of the anchor exactly as much time has passed since as the machine was up, whatever the wall clock says.
    Elsewhere what the wall clock has gone on counts, but not back: among remembered times of the future everything new
    would look old. Anchored at 1000 s and 50 s of uptime, with an uptime of 53 s now: 1003 s.

    Uptime leaves out what a machine sleeps, in which nobody is silent or late; ``slept_s`` has it.
    """

    def __init__(
        self,
        anchor: Anchor | None = None,
        *,
        wall: Callable[[], float] = time.time,
        uptime: Callable[[], float] = time.monotonic,
        since_boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        boot: str | None = None,
    ) -> None:
        self._wall = wall
        self._uptime = uptime
        self._boot_id = boot
        start_s = wall()
        if anchor is not None:
            then_s = anchor.at_s if anchor.wall_s is None else anchor.wall_s
            is_same_boot = boot is not None and boot == anchor.boot_id and uptime() >= anchor.uptime_s
            passed_s = uptime() - anchor.uptime_s if is_same_boot else max(0.0, start_s - then_s)
            start_s = anchor.at_s + passed_s
        self._offset_s = start_s - uptime()
        self._since_boot = since_boot
        self._awake_offset_s = since_boot() - uptime()
        self._ahead_s = self() - wall()

    def __call__(self) -> float:
        return self._offset_s + self._uptime()

    def anchor(self) -> Anchor:
        """This moment, for the next scaler's clock."""
        uptime_s = self._uptime()
        return Anchor(at_s=self._offset_s + uptime_s, boot_id=self._boot_id, uptime_s=uptime_s, wall_s=self._wall())

    def slept_s(self) -> float:
        """How long the machine has slept since this clock began."""
        return max(0.0, self._since_boot() - self._uptime() - self._awake_offset_s)

    def ahead_s(self) -> float:
        """How far this clock is ahead of the wall clock now: a moment of this clock, less that, is Unix time."""
        ahead_s = self() - self._wall()
        # The two drift by microseconds: a moment that is told twice has to be the same moment.
        if abs(ahead_s - self._ahead_s) > SHOWN_DRIFT_S:
            self._ahead_s = ahead_s
        return self._ahead_s


def boot_id() -> str | None:
    """A name of this boot of this machine, None where there is none."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip() or None
    except OSError:
        return None
