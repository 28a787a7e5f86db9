"""Topics that are not configured any more: what they counted and learnt is kept for a while, in case they come back."""

from __future__ import annotations

from collections.abc import Container

from msgspec import structs

from hermes_ray.scaler.memory import Memory, TopicMemory
from hermes_ray.scaler.roster import Roster

__all__ = ["LeftOut"]


class LeftOut:
    """The memory of all topics but the ``configured`` ones: of each in ``topics``, and in ``learnt``."""

    def __init__(self, memory: Memory, configured: Container[str]) -> None:
        self.topics = {topic: past for topic, past in memory.topics.items() if topic not in configured}
        self.learnt = {topic: past for topic, past in memory.learnt.items() if topic not in configured}

    def count(self, roster: Roster) -> None:
        """What their last workers settle while they drain is counted too."""
        for topic, past in self.topics.items():
            if past.counters is not (counters := roster.counters(topic)):
                self.topics[topic] = structs.replace(past, counters=counters)

    def forget(self, topic: str) -> bool:
        """Forget a topic; False if there is none of that name."""
        self.learnt.pop(topic, None)
        return self.topics.pop(topic, None) is not None

    def forget_the_long_gone(self, now_s: float, after_s: float) -> None:
        """A topic that was left out for ``after_s`` is forgotten, with all that was learnt of it."""
        for topic, past in list(self.topics.items()):
            if past.left_out_since_s is None:
                self.topics[topic] = structs.replace(past, left_out_since_s=now_s)
            elif now_s - past.left_out_since_s > after_s:
                self.forget(topic)
        for topic in self.learnt.keys() - self.topics.keys():
            self.topics[topic] = TopicMemory(left_out_since_s=now_s)
