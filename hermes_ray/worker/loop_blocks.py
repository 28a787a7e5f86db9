"""Times in which one handler kept the event loop: no part of what the others take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

__all__ = ["LoopBlocks"]

_LEAST_S = 0.1  # until the loop answers: less is the turn of others
_HUNG_S = 10.0  # kept by nobody's handler, such as a task that one has started: it will not come back
_KEPT = 256


class LoopBlocks:
    """Asks the loop for an answer and, at each ``look`` while there is none, who keeps it.

    ``ask`` has the loop call what it is given; ``holder`` is None if nobody does that is known. For one thread.
    """

    def __init__(self, ask: Callable[[Callable[[], None]], object], holder: Callable[[], Hashable]) -> None:
        self._ask, self._holder = ask, holder
        self._asked_s: float | None = None
        self._looked_s = 0.0
        self._is_hung = False
        self._pieces: deque[tuple[float, float, Hashable]] = deque(maxlen=_KEPT)  # from, to, by whom

    def look(self, now_s: float) -> None:
        """Note what keeps the loop at ``now_s``, monotonic."""
        asked_s = self._asked_s
        if asked_s is None:
            self._is_hung = False
            self._asked_s = self._looked_s = now_s
            self._ask(self._answer)
        elif now_s - asked_s > _LEAST_S:
            holder = self._holder()
            self._pieces.append((self._looked_s, now_s, holder))
            self._looked_s = now_s
            self._is_hung = holder is None and now_s - asked_s > _HUNG_S

    def within_s(self, whose: Hashable, since_s: float) -> float:
        """For how long since ``since_s`` somebody else than ``whose`` has kept the loop; 0 once that hangs for good."""
        if self._is_hung:
            return 0.0
        others = [(from_s, to_s) for from_s, to_s, holder in self._pieces if holder is None or holder is not whose]
        return sum(max(0.0, to_s - max(from_s, since_s)) for from_s, to_s in others)

    def _answer(self) -> None:
        self._asked_s = None
