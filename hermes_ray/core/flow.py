"""What flowed through a topic's slots lately: runs that ended, slots busy, and how all that is unsettled grew.

Totals move when a report arrives, by all that a worker did since its last one. A look is kept when they moved, so that
the time between two looks is the time that the work between them took.
"""

from __future__ import annotations

from typing import NamedTuple

from hermes_ray.core.looks import JITTER_S, LEAST_SPACING_S
from hermes_ray.core.model import Totals

__all__ = ["Look", "busy_slots", "finish_rate_hz", "growth_rate_hz", "window_s", "with_look"]

_WINDOW_S = 10.0
_WINDOW_INTERVALS = 2.0
_LOOKS_A_WINDOW = 12
_MIN_SPAN_S = 1.0


class Look(NamedTuple):
    """The totals at ``at_s``, beside them ready + retrying + held where the depth is known."""

    at_s: float
    finished_count: int
    busy_s: float
    unsettled_count: int | None = None


def window_s(report_interval_s: float) -> float:
    """How far back flow is looked at: 10 s, or two report intervals."""
    return max(_WINDOW_S, _WINDOW_INTERVALS * report_interval_s)


def with_look(
    looks: tuple[Look, ...], totals: Totals, unsettled_count: int | None, now_s: float, *, report_interval_s: float
) -> tuple[Look, ...]:
    """The looks with one of now, if totals have moved or an interval has passed; the oldest covers the window."""
    over_s = window_s(report_interval_s)
    spacing_s = max(LEAST_SPACING_S, over_s / _LOOKS_A_WINDOW)
    if looks:
        last = looks[-1]
        has_moved = (totals.finished_count, totals.busy_s) != (last.finished_count, last.busy_s)
        if now_s < last.at_s + (spacing_s if has_moved else max(spacing_s, report_interval_s)) - JITTER_S:
            return looks
    first = 0
    while first + 1 < len(looks) and looks[first + 1].at_s <= now_s - over_s:
        first += 1
    look = Look(now_s, totals.finished_count, totals.busy_s, unsettled_count)
    return (*looks[first:], look)


def finish_rate_hz(looks: tuple[Look, ...], *, report_interval_s: float = 1.0) -> float | None:
    """Handler runs that ended per second, over the window; None before it covers 1 s."""
    start = _start(looks, report_interval_s)
    if start is None:
        return None
    return max(0, looks[-1].finished_count - start.finished_count) / (looks[-1].at_s - start.at_s)


def busy_slots(looks: tuple[Look, ...], *, report_interval_s: float = 1.0) -> float | None:
    """Slots busy on average over the window: 40 slot-seconds in 10 s are 4."""
    start = _start(looks, report_interval_s)
    if start is None:
        return None
    return max(0.0, looks[-1].busy_s - start.busy_s) / (looks[-1].at_s - start.at_s)


def growth_rate_hz(looks: tuple[Look, ...], *, report_interval_s: float = 1.0) -> float | None:
    """Messages by which all that is unsettled grew per second, negative where it shrinks, where depths are known."""
    known = tuple(look for look in looks if look.unsettled_count is not None)
    start = _start(known, report_interval_s)
    if start is None or start.unsettled_count is None or known[-1].unsettled_count is None:
        return None
    return (known[-1].unsettled_count - start.unsettled_count) / (known[-1].at_s - start.at_s)


def _start(looks: tuple[Look, ...], report_interval_s: float) -> Look | None:
    """The latest look a window or more before the last, the first of a shorter history, None before it covers 1 s."""
    if not looks or looks[-1].at_s - looks[0].at_s < _MIN_SPAN_S:
        return None
    since_s = looks[-1].at_s - window_s(report_interval_s) + JITTER_S
    return next((look for look in reversed(looks) if look.at_s <= since_s), looks[0])
