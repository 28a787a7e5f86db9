"""How often workers report: as often as one actor can take it from all of them."""

from __future__ import annotations

__all__ = ["MAX_CALLS_PER_S", "ReportInterval"]

MAX_CALLS_PER_S = 240  # an actor saturates at 850 a second; more workers report less often instead
LEAST_S, MOST_S = 1.0, 40.0
SPREAD_RATIO = 1.2  # workers spread their reports by a tenth


class ReportInterval:
    """``told_s`` is what a worker is told when it reports now, ``kept_s`` what some may still keep to.

    2,100 of 2,150 workers leave: the others are told 1 s from now on, at their next report, which may be 9 s away.
    Until then they are not silent, nor do they report in time for anything that is reckoned by 1 s.
    """

    def __init__(self, before_s: float = LEAST_S, now_s: float = 0.0) -> None:
        """``before_s`` is what the scaler before this one had them keep to."""
        self.told_s = self.kept_s = before_s
        self._told = {before_s: now_s}  # interval: when it was told last

    def update(self, worker_count: int, now_s: float) -> None:
        """Reckon anew."""
        self.told_s = min(max(LEAST_S, worker_count / MAX_CALLS_PER_S), MOST_S)
        self._told = {told: at_s for told, at_s in self._told.items() if now_s - at_s <= SPREAD_RATIO * told}
        self._told[self.told_s] = now_s
        self.kept_s = max(self._told)
