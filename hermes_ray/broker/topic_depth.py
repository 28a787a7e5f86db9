"""What is known of one topic's queues, and which of them are due for a look: no clock and no network in here.

Arrivals are counted as differences of ready + retrying + what workers have taken. A message that moves from a wait
queue back to the main one must leave the one count as it enters the other, so the wait queues of a topic that retries
are looked at right behind its main queue, each time; a figure of some seconds ago would count the message twice. Only
an empty wait queue may wait for its turn: nothing comes back from it.

A wait queue is looked for when somebody has said that it exists. A missing one is a 404, which costs the channel and a
line in the broker's log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

from hermes_ray.broker.declares import Ask
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import NOT_FOUND, dead_queue, main_arguments, queue_arguments, refusal, wait_queue
from hermes_ray.core.model import Probe

__all__ = ["TURN_S", "ProbeFailure", "TopicDepth", "pause_s", "turn"]

TURN_S = 8.0  # of the 10 s that are promised; the rest is for a broker that takes its time
RETRYING_S = 30.0  # a topic that has retried may do so again soon, through any of its wait queues
LONGEST_PAUSE_S = 30.0
GONE_S, LONGEST_GONE_S = 30.0, 3600.0  # a queue that nothing depends on is not looked for again and again


def turn(now_s: float, topic: str) -> int:
    """The number of the topic's turn, one each ``TURN_S``; topics take theirs spread over that time.

    With a spread of 3 s for this topic: 0 up to 5 s, 1 from 5 s to 13 s.
    """
    spread_s = crc32(topic.encode()) % 1000 / 1000 * TURN_S
    return int((now_s + spread_s) // TURN_S)


def pause_s(failures: int, first_s: float = 1.0, longest_s: float = LONGEST_PAUSE_S) -> float:
    """The pause after so many failures in a row (>= 1): 1, 2, 4, 8, 16, then 30 s."""
    return min(longest_s, first_s * 2.0 ** min(failures - 1, 30))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFailure:
    """Why a topic has no fresh depth: the last ``text``, and how often in a row (>= 1).

    ``is_answer``: the broker is there and refuses.
    """

    count: int
    text: str
    is_answer: bool = False


@dataclass(slots=True)
class _Gone:
    """A queue that was not there, ``count`` times in a row; looked for again from ``again_s`` on, if at all."""

    count: int = 0
    again_s: float = 0.0

    def missed(self, now_s: float) -> None:
        self.count += 1
        self.again_s = now_s + pause_s(self.count, GONE_S, LONGEST_GONE_S)


class TopicDepth:
    """The last counts of one topic's queues; it belongs to one thread.

    ``due`` gives what to ask now, each ask is followed by ``answered`` or ``refused``, and once all are, ``probe`` is
    new or ``failure`` is. ``gone_ms``: the delays of wait queues that were said to exist and do not. ``now_s`` is any
    steady clock's, ``at_s`` goes into the probe as it is.
    """

    def __init__(self, topology: TopicTopology) -> None:
        self.topology = topology
        self.probe: Probe | None = None
        self.failure: ProbeFailure | None = None
        self.failure_count = 0
        self.gone_ms: frozenset[int] = frozenset()
        self._main = Ask(topology.topic, topology.queue)
        self._dead = Ask(topology.topic, dead_queue(topology.queue))
        self._dead_gone = _Gone()
        self._dead_count: int | None = None
        self._waits: dict[int, Ask] = {}
        self._counts: dict[int, int] = {}
        self._gone: dict[int, _Gone] = {}
        self._ready = (0.0, 0)
        self._turn: int | None = None
        self._retrying_until_s = 0.0
        self._refusals = 0
        self._next_s = 0.0
        self._open_count = 0
        self._is_failing = False
        if not topology.declare:
            self.waits_exist(topology.rungs_ms)

    def waits_exist(self, rungs_ms: Iterable[int]) -> None:
        """Somebody has seen the wait queues of these delays; said again, it brings back none that has vanished."""
        self._know(rung for rung in rungs_ms if rung not in self._gone)

    def retried(self, now_s: float) -> None:
        """A message was retried a moment ago: no wait queue counts as empty for a while, and one that had vanished
        may have been declared anew.
        """
        self._retrying_until_s = now_s + RETRYING_S
        self._know(rung for rung, gone in self._gone.items() if now_s >= gone.again_s)

    @property
    def is_doubtful(self) -> bool:
        """Whether its last look failed for a reason of its own."""
        return self._refusals > 0

    def due(self, now_s: float) -> list[Ask]:
        """The asks of one look, the main queue's first; none while a look is under way or a pause lasts.

        A message that moves back between the asks is then seen in neither queue for a moment, never in both.
        """
        if self._open_count or now_s < self._next_s:
            return []
        this_turn = turn(now_s, self.topology.topic)
        is_turn, self._turn = this_turn != self._turn, this_turn
        if is_turn or now_s < self._retrying_until_s:
            asks = [self._main, *self._waits.values()]
        else:
            asks = [self._main, *(ask for rung, ask in self._waits.items() if self._counts.get(rung) != 0)]
        if is_turn and now_s >= self._dead_gone.again_s:
            asks.append(self._dead)
        self._open_count = len(asks)
        self._is_failing = False
        return asks

    def answered(self, ask: Ask, count: int, at_s: float, now_s: float) -> None:
        """``count`` messages are ready there."""
        if ask.queue == self._main.queue:
            self._ready = (at_s, count)
        elif ask.delay_ms is None:
            self._dead_count = count
            self._dead_gone = _Gone()
        else:
            self._counts[ask.delay_ms] = count
            self._gone.pop(ask.delay_ms, None)
            if count:
                self._retrying_until_s = now_s + RETRYING_S
        self._close_one()

    def refused(self, ask: Ask, code: int | None, text: str, now_s: float) -> Ask | None:
        """The broker refused, or did not answer (None); what to ask at once instead: a deleted queue is declared again.

        Nobody else would notice that it is gone while no worker consumes.
        """
        topology = self.topology
        if code == NOT_FOUND and ask.delay_ms is None and ask.arguments is None:
            if ask.queue == self._main.queue and (arguments := main_arguments(topology)) is not None:
                return Ask(ask.topic, ask.queue, None, arguments, topology.bindings)
            if ask.queue == self._dead.queue and topology.declare:
                return Ask(ask.topic, ask.queue, None, queue_arguments(topology.queue_type))
        if ask.queue == self._dead.queue:
            self._dead_count = None
            self._dead_gone.missed(now_s)
        elif ask.delay_ms is not None and code == NOT_FOUND:
            self._forget(ask.delay_ms, now_s)
        elif not self._is_failing:
            why = text if code is None else f"{code} {text}"
            why = why if ask.arguments is None or code is None else str(refusal(topology, ask.queue, code, text))
            self.fail(why, is_answer=code is not None)
            self.pause(now_s)
        self._close_one()
        return None

    def fail(self, text: str, *, is_answer: bool = False) -> None:
        """This look told nothing."""
        self._is_failing = True
        count = 1 if self.failure is None else self.failure.count + 1
        self.failure = ProbeFailure(count=count, text=text, is_answer=is_answer)
        self.failure_count += 1

    def pause(self, now_s: float) -> None:
        """Leave the topic alone for a while, the longer the more often in a row this comes."""
        self._refusals += 1
        self._next_s = now_s + pause_s(self._refusals)

    def drop(self) -> None:
        """What was under way is lost with the connection."""
        if self._open_count:
            self._open_count = 0
            self._turn = None

    def _know(self, rungs_ms: Iterable[int]) -> None:
        queue, topic = self.topology.queue, self.topology.topic
        self._waits |= {ms: Ask(topic, wait_queue(queue, ms), ms) for ms in rungs_ms if ms not in self._waits}
        self.gone_ms -= self._waits.keys()

    def _forget(self, delay_ms: int, now_s: float) -> None:
        self._gone.setdefault(delay_ms, _Gone()).missed(now_s)
        self._waits.pop(delay_ms, None)
        self._counts.pop(delay_ms, None)
        self.gone_ms |= {delay_ms}

    def _close_one(self) -> None:
        self._open_count -= 1
        if self._open_count:
            return
        if self._is_failing:
            self._turn = None
            return
        at_s, ready_count = self._ready
        self.probe = Probe(
            at_s=at_s,
            ready_count=ready_count,
            retrying_count=sum(self._counts.values()),
            dead_count=self._dead_count,
        )
        self.failure = None
        self._refusals = 0
