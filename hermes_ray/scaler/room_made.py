"""For whom others have made room lately, so that no more is made in vain."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hermes_ray.core.moves import Crew, Moves
from hermes_ray.scaler.lifecycle import START_DEADLINE_S
from hermes_ray.scaler.start_backoff import MAX_BACKOFF_S

__all__ = ["RoomMade"]

_PRESSES_AFTER_S = 15.0  # most lacks end sooner: handlers do, and new code shows that it works
_PRESSES_ALL_AFTER_S = START_DEADLINE_S + 30.0  # by then new code has started and shown that it works, or will not soon
_TAKEN_S = 60.0  # who did not get the room that was made for it does not have more made so soon: it may go the same way


class RoomMade:
    """Topics that press for a first worker, or one of their minimum, and what is promised to whom."""

    def __init__(self) -> None:
        self._lacking_since_s: dict[str, float] = {}
        self._pressing: set[str] = set()
        self._pressed: dict[str, tuple[int, float]] = {}  # how often, and when last, before a worker has shown itself
        self._promised: dict[str, tuple[int, float]] = {}  # how many workers, and since when

    def pressing(self, now_s: float) -> Mapping[str, bool]:
        """Those that have lacked it for long, and whether for very long, so that also workers leave for them that might
        not come back; not again so soon where lighter ones have left for starts that failed.
        """
        for topic, since_s in self._lacking_since_s.items():
            is_paused = topic in self._pressed and now_s - self._pressed[topic][1] <= self._pause_s(topic)
            if now_s - since_s > _PRESSES_AFTER_S and not is_paused:
                self._pressing.add(topic)
        return {t: now_s - self._lacking_since_s.get(t, now_s) > _PRESSES_ALL_AFTER_S for t in self._pressing}

    def promised(self, crews: Mapping[str, Crew], now_s: float) -> Mapping[str, int]:
        """How many workers those are to have for whom others have gone, as long as they do not have them."""
        self._promised = {
            topic: (count, at_s)
            for topic, (count, at_s) in self._promised.items()
            if now_s - at_s < self._pause_s(topic)
            and sum(crews[topic].staying.values()) < min(count, crews[topic].target)
        }
        return {topic: count for topic, (count, _) in self._promised.items()}

    def pressed_s(self) -> Mapping[str, float]:
        """Those for whom lighter ones have left, and when; none of whose workers since has shown that it works."""
        return {topic: at_s for topic, (_, at_s) in self._pressed.items()}

    def _pause_s(self, topic: str) -> float:
        """How long no more room is made for it: longer each time that lighter ones have left in vain."""
        count, _ = self._pressed.get(topic, (0, 0.0))
        return count * MAX_BACKOFF_S if count else _TAKEN_S

    def nobody_lacks(self) -> None:
        """Everybody has what is granted: whoever lacks something again has not lacked it for long."""
        self._lacking_since_s.clear()
        self._pressing.clear()

    def note(self, moves: Moves, below: Collection[str], shown: Collection[str], now_s: float) -> None:
        """``below``: who lacks a first worker or one of the minimum and may try; ``shown``: who has one that works."""
        self._pressing.intersection_update(below)
        self._lacking_since_s = {
            topic: self._lacking_since_s.get(topic, now_s)
            for topic in below
            if topic in moves.lacks or topic in self._pressing
        }
        for topic in shown:
            self._pressed.pop(topic, None)
        for topic in moves.pressed:
            self._pressed[topic] = self._pressed.get(topic, (0, now_s))[0] + 1, now_s
        self._promised |= {topic: (count, now_s) for topic, count in moves.promised.items()}
