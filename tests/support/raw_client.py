"""A client that sends and takes messages with whatever property bytes a test says."""

from __future__ import annotations

import threading

from hermes_ray.broker.broker_spec import BrokerSpec
from hermes_ray.broker.consumer import Consumer
from hermes_ray.broker.consumer_ports import ConsumerEvents
from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.outgoing import Outgoing
from hermes_ray.broker.properties import Properties
from hermes_ray.broker.publisher import Answer
from hermes_ray.broker.queue_spec import QueueSpec
from tests.support.ledger import ready_count, sending, until

__all__ = ["put_raw", "take_raw"]


def put_raw(url: str, *messages: tuple[bytes, bytes], queue: str = "q") -> None:
    """Publish each of (body, property bytes), and wait until the broker has them: a new quorum queue may lose some."""
    with sending(url) as sender:
        sender.send(Outgoing(queue, body, Properties(raw)) for body, raw in messages)
        until(lambda: len(sender.ids(Answer.CONFIRMED)) == len(messages), f"{len(messages)} confirms")


class _Keep:
    """Where deliveries stay."""

    def __init__(self, taken: list[Delivery]) -> None:
        self.put = taken.extend

    def take_back(self, up_to: tuple[int, int] | None = None) -> list[Delivery]:
        return []


def take_raw(url: str, queue: str, count: int) -> list[Delivery]:
    """Exactly ``count`` messages of ``queue``, acked, in order."""
    until(lambda: ready_count(url, queue) >= count, f"{count} messages in {queue}")
    taken: list[Delivery] = []
    crashed = threading.Event()
    consumer = Consumer(
        BrokerSpec(urls=(url,)),
        QueueSpec(topic=queue, queue=queue, declare=False),
        name="tests/take",
        prefetch=count + 1,
        concurrency=1,
        slots=_Keep(taken),
        events=ConsumerEvents(crashed=crashed.set),
    )
    consumer.start()
    until(lambda: len(taken) >= count or crashed.is_set(), f"{count} messages of {queue}")
    for each in taken:
        consumer.settle(each, None)
    assert consumer.close(10.0)
    assert len(taken) == count
    return taken
