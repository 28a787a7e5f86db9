"""Sizes of memory as people write them: ``4GiB``, ``500MB``, ``1.5 GB``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction

__all__ = ["EXAMPLES", "PATTERN", "amounts_text", "parse_bytes", "size_text"]

EXAMPLES = "a size such as 500MB or 4GiB"

PATTERN = r"^\s*[0-9]{1,30}(\.[0-9]{1,30})?\s*([KkMmGgTt][Ii]?)?[Bb]\s*$"
"""Every size there is, for Python and for JSON Schema."""

_SIZE = re.compile(r"\s*(?P<count>[0-9.]+)\s*(?P<power>[KMGT]?)(?P<binary>I?)B\s*")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_bytes(text: str) -> int | None:
    """The bytes that ``text`` stands for, to the nearest one; None if it is no size with a unit.

    Units are B, kB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (of 1024), in capitals or not: ``1.5 GB`` is
    1,500,000,000 and ``4GiB`` 4,294,967,296. ``4G`` is none: Java takes it for GiB, Kubernetes for GB.
    """
    size = _SIZE.fullmatch(text.upper()) if re.fullmatch(PATTERN, text) else None
    if size is None:
        return None
    factor: int = (1024 if size["binary"] else 1000) ** _POWERS[size["power"]]
    return round(Fraction(size["count"]) * factor)


def size_text(count: float) -> str:
    """``count`` bytes as people write them, rounded down: 4,294,967,296 is ``4GiB``, 1,500,000,000 is ``1.39GiB``."""
    power = max((power for power in _POWERS.values() if 1024**power <= count), default=0)
    unit = next(unit for unit, each in _POWERS.items() if each == power)
    return f"{math.floor(count * 100 / 1024**power) / 100:.15g}{unit}{'iB' if unit else 'B'}"


def amounts_text(resources: Mapping[str, float]) -> str:
    """Amounts by Ray's names for people, memory as they write it: ``0.25 CPU, 4GiB memory``; ``nothing`` of nothing."""
    parts = [f"{amount:.15g} {name}" for name, amount in resources.items() if amount > 0 and name != "memory"]
    memory = resources.get("memory", 0.0)
    return ", ".join([*parts, *([f"{size_text(memory)} memory"] if memory > 0 else [])]) or "nothing"
