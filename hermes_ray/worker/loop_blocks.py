"""Times in which one handler kept the event loop: no part of what the others take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

__all__ = ["LoopBlocks"]

_LEAST_S = 0.1  # until the loop answers: less is the turn of others
_KEPT = 16


class LoopBlocks:
    """Asks the loop at each ``look`` for an answer, and who keeps it while there is none.

    ``ask`` has the loop call what it is given; ``holder`` is None if nobody does that is known. For one thread.
    """

    def __init__(self, ask: Callable[[Callable[[], None]], object], holder: Callable[[], Hashable]) -> None:
        self._ask, self._holder = ask, holder
        self._asked_s: float | None = None
        self._now: tuple[float, float, Hashable] | None = None
        self._past: deque[tuple[float, float, Hashable]] = deque(maxlen=_KEPT)

    def look(self, now_s: float) -> None:
        """Note what keeps the loop at ``now_s``, monotonic."""
        asked_s = self._asked_s
        if asked_s is None:
            if self._now is not None:
                self._past.append(self._now)
                self._now = None
            self._asked_s = now_s
            self._ask(self._answer)
        elif now_s - asked_s > _LEAST_S:
            holder = self._now[2] if self._now is not None else self._holder()
            self._now = asked_s, now_s, holder

    def within_s(self, whose: Hashable, since_s: float) -> float:
        """For how long since ``since_s`` somebody else than ``whose`` has kept the loop."""
        blocks = [*self._past, *([self._now] if self._now is not None else [])]
        others = [(from_s, to_s) for from_s, to_s, holder in blocks if holder is not None and holder is not whose]
        return sum(max(0.0, to_s - max(from_s, since_s)) for from_s, to_s in others)

    def _answer(self) -> None:
        self._asked_s = None
