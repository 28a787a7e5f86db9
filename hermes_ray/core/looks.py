"""Looks at a topic come with the ticks, a second apart but for the time that a tick takes."""

from __future__ import annotations

__all__ = ["JITTER_S", "LEAST_SPACING_S"]

JITTER_S = 0.25
LEAST_SPACING_S = 0.75  # of looks that are kept: each tick's, but not two of which one was late
