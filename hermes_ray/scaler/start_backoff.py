"""How starting workers of one topic goes: what fails is tried again, later each time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["EARLY_DEATH_S", "FIRST_BACKOFF_S", "MAX_BACKOFF_S", "StartBackoff"]

EARLY_DEATH_S = 10.0  # a worker that died sooner has failed to start, whatever it reported
FIRST_BACKOFF_S = 5.0
MAX_BACKOFF_S = 300.0
UNTRIED_S = 60.0  # a try has been due for so long: nobody wants one


@dataclass(slots=True)
class StartBackoff:
    """Tries that failed in a row, and when the next is due. Workers started together are one try."""

    failures: int = 0
    failed_s: float = 0.0
    next_s: float = 0.0
    due_since_s: float | None = None
    error: str | None = None

    def failed(self, error: str, begun_s: float, now_s: float, longest_s: float = MAX_BACKOFF_S) -> float:
        """A worker started at ``begun_s`` has failed; returns the seconds until the next try."""
        self.error = error
        if not self.failures or begun_s > self.failed_s:
            self.next_s = now_s + min(longest_s, FIRST_BACKOFF_S * 2 ** min(self.failures, 10))
            self.failures += 1
            self.failed_s = now_s
        return max(0.0, self.next_s - now_s)

    def was_away(self, away_s: float, now_s: float) -> None:
        """Nobody looked for so long: starts before the failure, which are counted from later on, stay before it."""
        self.failed_s = min(now_s, self.failed_s + away_s)

    def is_trying(self, since_s: Iterable[float]) -> bool:
        """Whether one of the workers started at ``since_s`` has yet to show that what failed works again."""
        return self.failures > 0 and any(at_s > self.failed_s for at_s in since_s)

    def forget_untried(self, since_s: Iterable[float], now_s: float, *, is_wanted: bool) -> None:
        """Where those started at ``since_s`` are enough, so that no try is made, what failed is of the past."""
        if not self.failures or is_wanted or now_s < self.next_s or self.is_trying(since_s):
            self.due_since_s = None
        elif self.due_since_s is None:
            self.due_since_s = now_s
        elif now_s - self.due_since_s > UNTRIED_S:
            self._forget()

    def succeeded(self, since_s: float) -> None:
        """A worker started at ``since_s`` works: that says something only if no start failed since."""
        if since_s > self.failed_s:
            self._forget()

    def _forget(self) -> None:
        self.failures, self.next_s, self.due_since_s, self.error = 0, 0.0, None, None
