"""Sizes of memory as people write them: ``4GiB``, ``500MB``, ``1.5 GB``."""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = ["EXAMPLES", "PATTERN", "parse_bytes"]

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
