"""How long tests wait: longer than what they wait for takes, since the machine may have other work."""

from __future__ import annotations

import time

__all__ = ["PATIENCE", "deadline_s"]

PATIENCE = 3.0


def deadline_s(within_s: float) -> float:
    """When, by the monotonic clock, to give up on what should be there ``within_s`` on a machine of our own."""
    return time.monotonic() + PATIENCE * within_s
