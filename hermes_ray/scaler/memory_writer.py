"""Which part of the memory is written when: what changed at once, what was learnt in turns, everything now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from msgspec import structs

from hermes_ray.scaler.clock import Anchor
from hermes_ray.scaler.memory import Changes, Header, TopicLearnt, TopicMemory
from hermes_ray.scaler.ports import StateStore
from hermes_ray.scaler.roster import Roster

__all__ = ["MemoryWriter"]

# A write of t seconds is followed by a pause of 10 t: a slow disk takes a tenth of the time. Its bound is there because
# status and metrics show what was written: after one write that hung they would stand still for minutes. The shipped
# alert takes figures of 30 s for those of a scaler that is gone.
WRITE_SHARE, LONGEST_PAUSE_S = 10, 20.0
LEAST_LEARNT, LEARNT_TURN_S = 100, 10.0


class MemoryWriter:
    """Writes memories to ``store``; ``error`` says why the last could not be written, None if it was.

    ``anchor`` gives the clock's anchor of the moment; ``stopwatch`` seconds that a write is timed with.
    """

    def __init__(
        self, store: StateStore, anchor: Callable[[], Anchor], stopwatch: Callable[[], float] = time.monotonic
    ) -> None:
        self.store = store
        self.error: str | None = None
        self._anchor = anchor
        self._stopwatch = stopwatch
        self._next_s = 0.0
        self._topics: dict[str, TopicMemory] = {}
        self._learnt_s: dict[str, float] = {}
        self._targets: dict[str, int | None] = {}

    def is_due(self, now_s: float) -> bool:
        """Whether the last write is long enough ago."""
        return now_s >= self._next_s

    def write(
        self,
        header: Header,
        topics: Mapping[str, TopicMemory],
        learnt: Mapping[str, TopicLearnt],
        roster: Roster,
        now_s: float,
        *,
        whole: bool = False,
    ) -> None:
        """Write what is due of this memory."""
        began_s = self._stopwatch()
        header = structs.replace(header, anchor=self._anchor())
        changed, gone = roster.take_changed()
        if whole or self.store.wants_whole:
            changes = Changes(
                header=header, is_whole=True, topics=dict(topics), learnt=dict(learnt), workers=roster.remembered()
            )
        else:
            changes = Changes(
                header=header,
                topics={name: topic for name, topic in topics.items() if self._topics.get(name) is not topic},
                learnt=self._turn(learnt),
                workers=changed,
                gone=gone,
                forgotten=list(self._topics.keys() - topics.keys()),
            )
        try:
            self.store.write(changes)
            self.error = None
        except OSError as error:
            self.error = f"the checkpoint cannot be written: {error}"
        self._topics = dict(topics)
        self._learnt_s = {name: self._learnt_s[name] for name in self._learnt_s.keys() & learnt.keys()}
        self._learnt_s |= dict.fromkeys(changes.learnt, now_s)
        self._targets |= {name: _target(past) for name, past in changes.learnt.items()}
        took_s = self._stopwatch() - began_s
        self._next_s = now_s + took_s + min(WRITE_SHARE * took_s, LONGEST_PAUSE_S)

    def _turn(self, learnt: Mapping[str, TopicLearnt]) -> dict[str, TopicLearnt]:
        """Those whose target changed, and as many of those that were written longest ago as a turn of 10 s takes."""
        if len(learnt) <= LEAST_LEARNT:
            return dict(learnt)
        chosen = {name for name, past in learnt.items() if _target(past) != self._targets.get(name)}
        oldest = sorted(learnt, key=lambda name: self._learnt_s.get(name, 0.0))
        chosen.update(oldest[: int(len(learnt) / LEARNT_TURN_S) + 1])
        return {name: learnt[name] for name in chosen}


def _target(past: TopicLearnt) -> int | None:
    return None if past.policy is None else past.policy.target
