"""A prober on a real broker, and looks at what it has seen and at what it cost the broker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.depth import DepthProber
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import wait_arguments, wait_queue

PASS_S = 0.1


@contextmanager
def probing(url: str, *topologies: TopicTopology, interval_s: float = PASS_S) -> Iterator[DepthProber]:
    """A prober of these topics that is stopped at the end."""
    prober = DepthProber([url], topologies, name="test/scaler/depth", interval_s=interval_s)
    prober.start()
    try:
        yield prober
    finally:
        prober.stop()


def put_into(connection: BlockingConnection, queue: str, count: int) -> None:
    """Publish ``count`` messages and wait for their confirms."""
    channel = connection.channel()
    channel.confirm_delivery()
    for _ in range(count):
        channel.basic_publish("", queue, b"x", BasicProperties(delivery_mode=2), mandatory=True)
    channel.close()


def declare_wait(connection: BlockingConnection, topology: TopicTopology, delay_ms: int) -> str:
    """Declare the wait queue as a worker would; returns its name."""
    queue = wait_queue(topology.queue, delay_ms)
    arguments = wait_arguments(topology.queue, topology.queue_type, delay_ms)
    connection.channel().queue_declare(queue, durable=True, arguments=arguments)
    return queue


def depth(prober: DepthProber, topic: str) -> tuple[int, int] | None:
    """Ready and retrying messages as last probed; None before that."""
    probe = prober.probes().get(topic)
    return None if probe is None else (probe.ready_count, probe.retrying_count)


def dead_count(prober: DepthProber, topic: str) -> int | None:
    """Dead letters as last probed."""
    probe = prober.probes().get(topic)
    return None if probe is None else probe.dead_count


def oldest_s(prober: DepthProber) -> float:
    """The age of the oldest depth, of topics without failures only."""
    now_s, failures = time.time(), prober.failures
    return max((now_s - probe.at_s for topic, probe in prober.probes().items() if topic not in failures), default=0.0)


def missed_queues(broker: LocalBroker, vhost: str) -> list[str]:
    """The lines of the broker's log that say that a queue of ``vhost`` was looked for and is not there."""
    return [line for line in broker.log_text.splitlines() if "not_found" in line and f"vhost '{vhost}'" in line]
