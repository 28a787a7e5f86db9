"""Up at once, down only to the most that was wanted in the last minute."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WINDOW_S", "Window", "stabilise"]

WINDOW_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Recommendations that may still bind, as ``(at_s, workers)``, oldest and largest first; and since when."""

    since_s: float | None = None
    peaks: tuple[tuple[float, int], ...] = ()


def stabilise(
    window: Window, recommended: int, current: int, now_s: float, window_s: float = WINDOW_S
) -> tuple[Window, int]:
    """The workers to have now, for a recommendation and the ``current`` target.

    More than ``current`` is granted at once; less only down to the largest recommendation of the last ``window_s``, and
    not at all before a full window is covered, so a restarted scaler takes nothing away for that long; nor does one
    that was away for longer than its window. Recommended 8, then 3 from 10 s on: 8 until 60 s after the last 8.
    """
    last_s = window.peaks[-1][0] if window.peaks else now_s
    since_s = now_s if window.since_s is None or now_s - last_s > window_s else window.since_s
    peaks = tuple(peak for peak in window.peaks if peak[0] > now_s - window_s and peak[1] > recommended)
    peaks = (*peaks, (now_s, recommended))
    kept = Window(since_s=since_s, peaks=peaks)
    if recommended >= current or now_s - since_s < window_s:
        return kept, max(recommended, current)
    return kept, min(current, peaks[0][1])
