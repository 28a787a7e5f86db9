"""Durations as people write and read them."""

from __future__ import annotations

import math
import re

from hermes_ray.errors import UserMistake

__all__ = ["ago", "duration_s", "duration_text"]

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd]?)", re.ASCII)


def duration_s(option: str, text: str) -> float:
    """Seconds of ``text``: 90s, 10m, 2h, 1d; a number alone is seconds. Raises ``UserMistake`` naming ``option``."""
    match = _DURATION.fullmatch(text)
    seconds = float(match["number"]) * UNITS_S[match["unit"] or "s"] if match else 0.0
    if not 0 < seconds < math.inf:
        raise UserMistake(f"{option} is {text[:40]!r}: write a duration above 0 such as 90s, 10m, 2h or 1d")
    return seconds


def duration_text(seconds: float) -> str:
    """Two digits or so that mean something: 12 s, 5 min, 3 h, 4 d."""
    if seconds < 2 * UNITS_S["m"]:
        return f"{seconds:.0f} s"
    if seconds < 2 * UNITS_S["h"]:
        return f"{seconds / UNITS_S['m']:.0f} min"
    if seconds < 2 * UNITS_S["d"]:
        return f"{seconds / UNITS_S['h']:.0f} h"
    return f"{seconds / UNITS_S['d']:.0f} d"


def ago(at_s: float, now_s: float) -> str:
    """How long ago ``at_s`` was; another machine's clock may be ahead of ours."""
    return f"{duration_text(max(0.0, now_s - at_s))} ago"
