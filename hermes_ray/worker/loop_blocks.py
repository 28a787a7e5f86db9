"""Times in which one handler kept the event loop: no part of what the others take."""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections.abc import Callable, Hashable
from typing import Any

__all__ = ["LoopBlocks"]

_LEAST_S = 0.1  # until the loop answers: less is the turn of others
_HUNG_S = 10.0  # kept by one for whom nobody waits, such as a callback that a handler has left behind
_KEPT_S = 3600.0  # a message in hand for longer counts what came before as its own work
_NOT_SEEN = object()  # yet: a process that stood still since it asked has not looked at anybody meanwhile


class LoopBlocks:
    """Asks the loop for an answer and, at each ``look`` while there is none, who keeps it.

    ``ask`` has the loop call what it is given; ``holder`` is None if nobody does that is known. One thread looks, and
    any may ask.
    """

    def __init__(self, ask: Callable[[Callable[[], None]], object], holder: Callable[[], Hashable]) -> None:
        self._ask, self._holder = ask, holder
        self._asked_s: float | None = None
        self._looked_s = 0.0
        self._kept_by: tuple[Hashable, float, float] = _NOT_SEEN, 0.0, 0.0  # seen at it first and last
        self._lock = threading.Lock()
        self._all = _Times()
        self._by: dict[Hashable, _Times] = {}

    def look(self, now_s: float) -> None:
        """Note what keeps the loop at ``now_s``, monotonic."""
        asked_s = self._asked_s
        if asked_s is None:
            self._kept_by = _NOT_SEEN, now_s, now_s  # first: it counts for what is asked next
            self._asked_s = self._looked_s = now_s
            self._ask(self._answer)
        elif now_s - asked_s > _LEAST_S:
            holder = self._holder()
            with self._lock:
                self._all.add(self._looked_s, now_s)
                self._by.setdefault(holder, _Times()).add(self._looked_s, now_s)
            self._looked_s = now_s
            before, first_s, _ = self._kept_by
            self._kept_by = holder, first_s if holder == before else now_s, now_s

    def within_s(self, whose: Hashable, since_s: float, *, left: Hashable = None) -> float:
        """For how long since ``since_s`` somebody else than ``whose`` has kept the loop.

        0 once it hangs for good, kept by nobody or by what ``whose`` has ``left``.
        """
        if self.is_hung(by=lambda holder: holder is None or holder == left):
            return 0.0
        with self._lock:
            mine = self._by.get(whose)
            return self._all.since_s(since_s) - (mine.since_s(since_s) if mine is not None else 0.0)

    def is_hung(self, by: Callable[[Any], bool]) -> bool:
        """Whether one alone, who is such as ``by`` tells, has kept the loop for so long that it will not come back."""
        holder, first_s, last_s = self._kept_by
        return self._asked_s is not None and last_s - first_s > _HUNG_S and by(holder)

    def _answer(self) -> None:
        self._asked_s = None


class _Times:
    """Times one after another, such as follow each other at once as one: how much of them lies since any moment."""

    def __init__(self) -> None:
        self._pieces: list[tuple[float, float, float]] = []  # from, to, how much there was by then: asked for by many

    def add(self, from_s: float, to_s: float) -> None:
        """One more, later than all others."""
        began_s, ended_s, sum_s = self._pieces[-1] if self._pieces else (from_s, -math.inf, 0.0)
        sum_s += to_s - from_s
        if ended_s == from_s:
            self._pieces[-1] = began_s, to_s, sum_s
            return
        del self._pieces[: self._ended_by(to_s - _KEPT_S)]
        self._pieces.append((from_s, to_s, sum_s))

    def since_s(self, since_s: float) -> float:
        """How much of them came after ``since_s``."""
        first = self._ended_by(since_s)
        if first == len(self._pieces):
            return 0.0
        from_s, to_s, sum_s = self._pieces[first]
        return self._pieces[-1][2] - sum_s + to_s - max(from_s, since_s)

    def _ended_by(self, moment_s: float) -> int:
        return bisect_right(self._pieces, moment_s, key=lambda piece: piece[1])
