"""Client CPU per message: hermes_ray's consume loop against BlockingConnection acking each message.

    .venv/bin/python -m benchmarks.consume [--messages 20000] [--rounds 3]

A private broker, 256-byte bodies, a handler that does nothing, a process of its own per measurement, CPU time of that
process from the first delivery to the last ack. The last line is JSON with the medians (µs) and the two ratios.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Callable

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic

from hermes_ray.broker.broker_spec import BrokerSpec
from hermes_ray.broker.connection import connect
from hermes_ray.broker.consumer import Consumer
from hermes_ray.broker.consumer_ports import ConsumerEvents
from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.frames import publish_frames
from hermes_ray.broker.outgoing import fresh
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.broker.topology import queue_arguments
from hermes_ray.message import Message
from hermes_ray.worker.collector import spare_the_collector, watch_memory
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.loop_slots import LoopSlots
from hermes_ray.worker.standstill import Standstill
from hermes_ray.worker.thread_slots import ThreadSlots

MUST_RATIO = 0.24
PREFETCH = 500
QUEUE = "bench"
BODY = b"x" * 256


def blocking(url: str, count: int) -> float:
    """What most people write: one callback, one ack a message."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=PREFETCH)
    seen = 0
    started_s = 0.0

    def on_message(channel: BlockingChannel, method: Basic.Deliver, _properties: object, _body: bytes) -> None:
        nonlocal seen, started_s
        if not seen:
            started_s = time.process_time()
        seen += 1
        channel.basic_ack(method.delivery_tag)
        if seen == count:
            channel.stop_consuming()

    channel.basic_consume(QUEUE, on_message)
    channel.start_consuming()
    cpu_s = time.process_time() - started_s
    connection.close()
    return cpu_s


def handle(_message: Message) -> None:
    return None


async def handle_async(_message: Message) -> None:
    return None


def hermes(url: str, count: int, *, is_async: bool) -> float:
    """The consume loop of a worker with its slots, without Ray around it."""
    done = threading.Event()
    marks: list[float] = []
    handler = Handler(call=handle_async if is_async else handle, is_async=is_async, close=lambda: None)
    kind, concurrency = (LoopSlots, 32) if is_async else (ThreadSlots, 4)
    slots = kind(handler, QUEUE, concurrency, lambda *_: b"", Standstill())

    class Marking:
        """The slots, and the time of the first batch."""

        take_back = slots.take_back

        def put(self, batch: list[Delivery]) -> None:
            if not marks:
                marks.append(time.process_time())
            slots.put(batch)

    consumer = Consumer(
        BrokerSpec(urls=(url,)),
        QueueSpec(topic=QUEUE, queue=QUEUE),
        name="bench",
        prefetch=PREFETCH,
        concurrency=concurrency,
        slots=Marking(),
        events=ConsumerEvents(crashed=done.set),
    )
    spare_the_collector()
    watch_memory()
    slots.start(consumer.settle)
    consumer.start()
    while consumer.counts.acked < count:
        done.wait(0.01)
    cpu_s = time.process_time() - marks[0]
    consumer.close(5.0)
    return cpu_s


VARIANTS: dict[str, Callable[[str, int], float]] = {
    "blocking": blocking,
    "sync": lambda url, count: hermes(url, count, is_async=False),
    "async": lambda url, count: hermes(url, count, is_async=True),
}


def fill(url: str, count: int) -> None:
    connection = connect([url], name="bench fill")
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True, arguments=queue_arguments("quorum"))
    for _ in range(count):
        message = fresh(QUEUE, BODY)
        frames = publish_frames(channel.channel_number, QUEUE, message.properties.raw, BODY, len(BODY))
        connection._impl._output_marshaled_frames([frames])
    while channel.queue_declare(QUEUE, passive=True).method.message_count < count:
        time.sleep(0.05)
    connection.close()


def measure(variant: str, url: str, count: int) -> float:
    """µs of client CPU a message."""
    fill(url, count)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=_child, args=(variant, url, count, sender))
    child.start()
    cpu_s: float = receiver.recv()
    child.join()
    return cpu_s / count * 1e6


def _child(variant: str, url: str, count: int, sender: multiprocessing.connection.Connection) -> None:
    sender.send(VARIANTS[variant](url, count))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    with LocalBroker() as broker:
        for round_number in range(options.rounds):
            for variant, taken in figures.items():
                taken.append(measure(variant, broker.url(), options.messages))
                print(f"round {round_number + 1}: {variant:9s} {taken[-1]:6.1f} µs a message", flush=True)
    medians = {variant: round(statistics.median(taken), 1) for variant, taken in figures.items()}
    ratios = {f"{v}_ratio": round(medians[v] / medians["blocking"], 3) for v in ("sync", "async")}
    print(json.dumps({**medians, **ratios, "must": MUST_RATIO}))
    return 0 if max(ratios.values()) <= MUST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
