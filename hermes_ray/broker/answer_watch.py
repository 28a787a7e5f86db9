"""Whether a channel answers at all, and at which queue it stands where it does not.

A channel's first message to a quorum queue without a leader blocks the channel for a minute: nothing behind it is
answered, nor, most often, what is on its way just before.
"""

from __future__ import annotations

from collections.abc import Iterable

from hermes_ray.broker.publish_entry import Entry
from hermes_ray.broker.silent_queues import SilentQueues

__all__ = ["AnswerWatch"]

TRY_AGAIN_S = 60.0  # a queue at which a channel stood: if the next one does too, the others wait meanwhile


class AnswerWatch:
    """Looks now and then at what has no answer, and keeps ``silent`` in the picture.

    A queue is known to be where the channel stands if all that has no answer was sent there, or if the first of it was
    sent alone, as trials are. Else each queue has a trial on another channel.
    """

    def __init__(self, silent: SilentQueues[Entry]) -> None:
        self._silent = silent
        self._looked_s = self._next_try_s = 0.0
        self._is_renewed = False
        self.is_answering = True  # since the last look; neither an alarm nor a body on its way is silence

    def begin(self, now_s: float) -> list[Entry]:
        """A channel begins; returns of what was kept back what is to be sent now."""
        entries = _trials(self._silent.begin()) if self._is_renewed else self._silent.clear()
        self._looked_s, self._is_renewed, self.is_answering = now_s, False, True
        return entries

    def is_in_the_way(self, unanswered: Iterable[Entry], now_s: float) -> bool:
        """Whether another channel would be answered what this one is not; if so, do call ``renew``."""
        is_answering, self.is_answering = self.is_answering, False
        looked_s, self._looked_s = self._looked_s, now_s
        sent = [] if is_answering else list(unanswered)
        late = [entry.message.queue for entry in sent if entry.sent_s < looked_s]
        if late and (sent[0].is_trial or all(entry.message.queue == late[0] for entry in sent)):
            self._silent.stands_at(late[0])
        return any(not self._silent.has_stood(queue) for queue in late)

    def renew(self, unanswered: Iterable[Entry], now_s: float) -> None:
        """Another channel is to come: one goes to each queue that owes an answer first, and the rest when it came."""
        firsts: dict[str, Entry] = {}
        for entry in unanswered:
            firsts.setdefault(entry.message.queue, entry)
        for queue in firsts:
            self._silent.mark(queue)
        _trials(firsts.values())
        self._is_renewed, self._next_try_s = True, now_s + TRY_AGAIN_S

    def tries(self, unanswered: Iterable[Entry], now_s: float) -> list[Entry]:
        """What is to be sent now to queues at which a channel stood, to see whether they answer again."""
        if self._silent.reason is None or now_s < self._next_try_s:
            return []
        self._next_try_s = now_s + TRY_AGAIN_S
        queues = {entry.message.queue for entry in unanswered}
        return _trials(self._silent.try_again(queues, lambda entry: entry.is_wanted()))


def _trials(entries: Iterable[Entry]) -> list[Entry]:
    trials = list(entries)
    for entry in trials:
        entry.is_trial = True
    return trials
