"""How many messages wait in each topic's queues, asked of the broker itself once a second.

A passive declare is fresh and costs 0.2 ms. When the queue is missing it costs the channel, so a missing wait queue, as
most are until their first retry, is looked for again only every ten seconds.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker

from hermes_ray.broker.connection import backoff_s, connect
from hermes_ray.broker.topology import NOT_FOUND, TopicTopology, ensure, wait_queue
from hermes_ray.core.model import Probe
from hermes_ray.errors import HermesError, OperationFailed

__all__ = ["DepthProber", "ProbeFailure"]

log = logging.getLogger(__name__)

HEARTBEAT_S = 20  # a broker that vanished without a word is noticed in two of these
MISSING_AGAIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFailure:
    """Why a topic has no fresh depth: the last ``text``, and how often in a row (>= 1)."""

    count: int
    text: str


class DepthProber:
    """Probes all topics in one pass each ``interval_s``, on one connection in a thread of its own, for ever.

    ``interval_s`` is at most 10 s. ``clock`` gives the Unix seconds of the probes. A topic that cannot be probed keeps
    its last probe, whose age tells, and hinders no other topic.
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
        self._topics = deque(topologies)
        self._missing_until_s: dict[str, float] = {}
        self._look_again: set[str] = set()
        self._probes: Mapping[str, Probe] = MappingProxyType({})
        self._failures: Mapping[str, ProbeFailure] = MappingProxyType({})
        self._failure_counts: Counter[str] = Counter()
        self._attempt = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"depth {name}", daemon=True)

    def start(self) -> None:
        """Start probing; the first probes come as soon as the broker is there."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread and its connection."""
        self._ending.set()
        self._thread.join(timeout_s)

    def probes(self) -> Mapping[str, Probe]:
        """The last probe of each topic that ever had one; an immutable cut, from any thread."""
        return self._probes

    @property
    def failures(self) -> Mapping[str, ProbeFailure]:
        """The topics whose last probe failed, and why; an immutable cut, from any thread."""
        return self._failures

    def failure_count(self, topic: str) -> int:
        """Probes of ``topic`` that failed since the start."""
        return self._failure_counts[topic]

    def look_again(self, topic: str) -> None:
        """A worker of ``topic`` retried a message: look for its missing wait queues in the next pass."""
        self._look_again.add(topic)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                connection = connect(self._urls, name=self._name, heartbeat_s=HEARTBEAT_S)
            except OperationFailed as error:
                for topology in self._topics:
                    self._note_failure(topology.topic, str(error))
            else:
                self._probe_until_lost(connection)
            self._ending.wait(backoff_s(self._attempt, random.random))
            self._attempt += 1

    def _probe_until_lost(self, connection: BlockingConnection) -> None:
        try:
            channel = connection.channel()
            while not self._ending.is_set():
                for _ in range(len(self._topics)):
                    # A topic whose probe makes the broker close the connection comes last in the next pass: first in
                    # every pass, it would leave the topics behind it without a depth.
                    self._topics.rotate(-1)
                    channel = self._probe(connection, channel, self._topics[-1])
                self._ending.wait(self._interval_s)
        except Exception as error:  # whatever it was, without depths nothing scales: connect again
            log.warning("%s: lost the broker: %r", self._name, error)
            self._note_failure(self._topics[-1].topic, repr(error))
        finally:
            with contextlib.suppress(AMQPError, OSError):
                connection.close()

    def _probe(
        self, connection: BlockingConnection, channel: BlockingChannel, topology: TopicTopology
    ) -> BlockingChannel:
        """Probe one topic; the channel to go on with, a new one where a missing queue has closed ``channel``."""
        try:
            ready_count = _ready_count(channel, topology.queue)
            at_s = self._clock()
        except ChannelClosedByBroker as error:
            self._note_failure(topology.topic, f"{error.reply_code} {error.reply_text}")
            if error.reply_code == NOT_FOUND and topology.declare and topology.topic in self._probes:
                self._declare_again(connection, topology)
            return connection.channel()
        retrying_count = 0
        for queue in self._known_wait_queues(topology):
            try:
                retrying_count += _ready_count(channel, queue)
            except ChannelClosedByBroker as error:
                channel = connection.channel()
                if error.reply_code != NOT_FOUND:
                    self._note_failure(topology.topic, f"{error.reply_code} {error.reply_text}")
                    return channel
                # Spread, so that the searches of many topics do not fall into one pass again and again.
                self._missing_until_s[queue] = time.monotonic() + MISSING_AGAIN_S * random.uniform(0.5, 1.0)
        self._note_probe(topology.topic, Probe(at_s=at_s, ready_count=ready_count, retrying_count=retrying_count))
        return channel

    def _declare_again(self, connection: BlockingConnection, topology: TopicTopology) -> None:
        """Declare a main queue that somebody deleted: a topic at 0 workers has none that would, and would stay at 0."""
        log.warning("%s: the queue %s was deleted; declaring it again", self._name, topology.queue)
        try:
            ensure(connection, [topology])
        except HermesError as error:
            self._note_failure(topology.topic, str(error))

    def _known_wait_queues(self, topology: TopicTopology) -> list[str]:
        """The wait queues that exist or are due for another look."""
        queues = [wait_queue(topology.queue, delay_ms) for delay_ms in topology.rungs_ms]
        if topology.topic in self._look_again:
            self._look_again.discard(topology.topic)
            return queues
        now_s = time.monotonic()
        return [queue for queue in queues if self._missing_until_s.get(queue, 0.0) <= now_s]

    def _note_probe(self, topic: str, probe: Probe) -> None:
        self._attempt = 0
        self._probes = MappingProxyType({**self._probes, topic: probe})
        if topic in self._failures:
            self._failures = MappingProxyType({k: v for k, v in self._failures.items() if k != topic})

    def _note_failure(self, topic: str, text: str) -> None:
        before = self._failures.get(topic)
        failure = ProbeFailure(count=1 if before is None else before.count + 1, text=text)
        self._failures = MappingProxyType({**self._failures, topic: failure})
        self._failure_counts[topic] += 1


def _ready_count(channel: BlockingChannel, queue: str) -> int:
    count: int = channel.queue_declare(queue, passive=True).method.message_count
    return count
