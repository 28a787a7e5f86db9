"""How many messages wait in each topic's queues, asked of the broker itself once a second.

One thread asks for all of them on a few channels of one connection: 1,000 topics in 0.1 s, for 0.03 s of CPU. What is
due when is decided in ``topic_depth.py``, the asking itself is in ``declares.py``.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import ConnectionClosedByBroker

from hermes_ray.broker.connection import backoff_s, connect
from hermes_ray.broker.declares import Ask, Lane, channel_limit, end
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topic_depth import ProbeFailure, TopicDepth
from hermes_ray.core.model import Probe
from hermes_ray.errors import HermesError
from hermes_ray.logs import Log

__all__ = ["DepthProber", "ProbeFailure"]

log = Log(__name__)

HEARTBEAT_S = 20  # a broker that vanished without a word is noticed in two of these
LANES = 8  # a queue that answers late holds up what is behind it in its own lane only
IN_FLIGHT = 256  # asks, on all lanes together; those of one lane are asked again when the broker refuses one of them
READ_PAUSE_S = (
    0.01  # the answers of this span are read at once: woken up for each, this thread would cost twice as much
)
LAST_WORDS_S = 1.0
NOT_ALLOWED = 530  # among others: more channels than this user may have


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """What all topics were like at one moment."""

    probes: Mapping[str, Probe]
    failures: Mapping[str, ProbeFailure]
    gone_waits: Mapping[str, frozenset[int]]


class DepthProber:
    """Probes all topics in one pass each ``interval_s``, on one connection in a thread of its own, for ever.

    ``interval_s`` is at most 2 s. ``clock`` gives the Unix seconds of the probes. A topic that cannot be probed keeps
    its last probe, whose age tells, is tried again after 1, 2, 4 ... 30 s, and hinders no other topic. Empty wait
    queues and dead-letter queues take turns, each within 10 s.
    """

    def __init__(
        self,
        urls: Sequence[str],
        topologies: Iterable[TopicTopology],
        *,
        name: str,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._urls = tuple(urls)
        self._name = name
        self._interval_s = interval_s
        self._clock = clock
        self._topics = {topology.topic: TopicDepth(topology) for topology in topologies}
        self._said = {
            topic: frozenset(() if depth.topology.declare else depth.topology.rungs_ms)
            for topic, depth in self._topics.items()
        }
        self._news: deque[Callable[[float], None]] = deque()
        self._looks: deque[list[Ask]] = deque()
        self._doubtful_looks: deque[list[Ask]] = deque()
        self._is_doubtful_turn = False
        self._lane_count = LANES
        self._cut = _as_seen(self._topics)
        self._attempt = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"depth {name}", daemon=True)

    # From any thread

    def start(self) -> None:
        """Start probing; the first probes come as soon as the broker is there."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread and its connection."""
        self._ending.set()
        self._thread.join(timeout_s)

    def probes(self) -> Mapping[str, Probe]:
        """The last probe of each topic that ever had one; an immutable cut."""
        return self._cut.probes

    @property
    def failures(self) -> Mapping[str, ProbeFailure]:
        """The topics whose last probe failed, and why; an immutable cut."""
        return self._cut.failures

    def failure_count(self, topic: str) -> int:
        """Probes of ``topic`` that failed since the start."""
        return self._topics[topic].failure_count

    def waits_exist(self, topic: str, rungs_ms: Iterable[int]) -> None:
        """There are wait queues of these delays, so their messages are counted from now on; cheap to say again.

        No other wait queue is looked for, except those of a topology that declares nothing: they have to exist.
        """
        rungs, depth = frozenset(rungs_ms), self._topics.get(topic)
        if depth is not None and not rungs <= self._said[topic]:
            self._said[topic] |= rungs
            self._news.append(lambda _now_s: depth.waits_exist(rungs))

    def retried(self, topic: str) -> None:
        """Messages of ``topic`` were retried a moment ago: its wait queues are looked at in every pass for a while."""
        depth = self._topics.get(topic)
        if depth is not None:
            self._news.append(depth.retried)

    def known_waits(self) -> Mapping[str, tuple[int, ...]]:
        """The delays of each topic's wait queues, as far as they are known and have not vanished; to be remembered."""
        gone, nothing = self._cut.gone_waits, frozenset[int]()
        known = {topic: said - gone.get(topic, nothing) for topic, said in self._said.items() if said}
        return {topic: tuple(sorted(rungs)) for topic, rungs in known.items() if rungs}

    # In the thread

    def answered(self, ask: Ask, ready_count: int) -> None:
        """From a lane: so many messages are ready."""
        self._attempt = 0
        self._topics[ask.topic].answered(ask, ready_count, self._clock(), time.monotonic())

    def refused(self, ask: Ask, code: int | None, text: str) -> Ask | None:
        """From a lane: the broker refused, or did not answer."""
        instead = self._topics[ask.topic].refused(ask, code, text, time.monotonic())
        if instead is not None:
            log.warning("%s: the queue %s is not there; declaring it", self._name, ask.queue)
        return instead

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._probe_one_connection()
            except Exception as error:  # whatever it was, without depths nothing scales: connect again
                log.warning("%s: no depths: %r", self._name, error)
                if isinstance(error, ConnectionClosedByBroker) and error.reply_code == NOT_ALLOWED:
                    self._lane_count = max(1, self._lane_count // 2)
            self._publish()
            self._ending.wait(backoff_s(self._attempt, random.random))
            self._attempt += 1

    def _probe_one_connection(self) -> None:
        try:
            connection = connect(self._urls, name=self._name, heartbeat_s=HEARTBEAT_S)
        except HermesError as error:
            for depth in self._topics.values():
                depth.fail(str(error))
            raise
        lanes = [Lane(connection, self) for _ in range(min(self._lane_count, channel_limit(connection)))]
        try:
            self._probe(connection, lanes)
        except Exception as error:
            self._lose([lane.first.topic for lane in lanes if lane.first is not None], error)
            end(connection, 0.0)
            raise
        end(connection, LAST_WORDS_S)

    def _lose(self, suspects: Iterable[str], error: Exception) -> None:
        """Forget what was under way. It may be the first ask of a lane that costs us each connection: those wait."""
        self._looks.clear()
        self._doubtful_looks.clear()
        for depth in self._topics.values():
            depth.drop()
        for topic in suspects:
            self._topics[topic].fail(str(error) if isinstance(error, HermesError) else repr(error))
            self._topics[topic].pause(time.monotonic())

    def _probe(self, connection: BlockingConnection, lanes: Sequence[Lane]) -> None:
        """Pass after pass, until the end or an error. A pass begins on time though the one before may still hang."""
        next_pass_s = time.monotonic()
        while not self._ending.is_set():
            now_s = time.monotonic()
            if now_s >= next_pass_s:
                next_pass_s = max(next_pass_s, now_s - self._interval_s) + self._interval_s
                self._begin_pass(now_s)
            self._fill(lanes)
            if any(lane.first is not None for lane in lanes):
                self._ending.wait(READ_PAUSE_S)
            else:
                self._publish()
                self._ending.wait(next_pass_s - now_s)
            connection.process_data_events(0)
            for lane in lanes:
                lane.check()

    def _begin_pass(self, now_s: float) -> None:
        """Line up what is due; what is still under way from the pass before stays where it is."""
        self._publish()
        while self._news:
            self._news.popleft()(now_s)
        for depth in self._topics.values():
            look = depth.due(now_s)
            if look:
                (self._doubtful_looks if depth.is_doubtful else self._looks).append(look)

    def _fill(self, lanes: Sequence[Lane]) -> None:
        """Give each free lane something to ask.

        Topics that have just failed take no more than half the lanes, so that however many hang, the others go on.
        """
        for number, lane in enumerate(lanes):
            if lane.first is None:
                batch = self._next_batch(IN_FLIGHT // len(lanes), is_doubtful=number < max(1, len(lanes) // 2))
                if batch:
                    lane.send(batch)

    def _next_batch(self, size: int, *, is_doubtful: bool) -> list[Ask]:
        """About ``size`` asks; or those of one topic that has just failed, and would keep what is behind it waiting.

        By turns, for neither may wait for the other to have nothing left.
        """
        self._is_doubtful_turn = not self._is_doubtful_turn
        if is_doubtful and self._doubtful_looks and (self._is_doubtful_turn or not self._looks):
            return self._doubtful_looks.popleft()
        batch: list[Ask] = []
        while self._looks and len(batch) < size:
            batch += self._looks.popleft()
        return batch

    def _publish(self) -> None:
        self._cut = _as_seen(self._topics)


def _as_seen(topics: Mapping[str, TopicDepth]) -> _Cut:
    probes = {topic: depth.probe for topic, depth in topics.items() if depth.probe is not None}
    failures = {topic: depth.failure for topic, depth in topics.items() if depth.failure is not None}
    gone_waits = {topic: depth.gone_ms for topic, depth in topics.items() if depth.gone_ms}
    return _Cut(
        probes=MappingProxyType(probes), failures=MappingProxyType(failures), gone_waits=MappingProxyType(gone_waits)
    )
