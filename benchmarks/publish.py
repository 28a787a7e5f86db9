"""Client CPU and rate of confirmed publishes: hermes_ray against itself with pika's objects, and against plain pika.

    .venv/bin/python -m benchmarks.publish [--messages 30000] [--rounds 3]

A private broker, 256-byte bodies, a classic queue, a process of its own per measurement, from the first publish to the
last confirm. The last line is JSON with the medians (µs of CPU, confirmed a second) and the ratio.
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
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection

from benchmarks.consume import BODY, QUEUE
from hermes_ray.broker.connection import connect
from hermes_ray.broker.link import IoThread
from hermes_ray.broker.outgoing import fresh
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.publisher import Publisher
from hermes_ray.broker.wire import DIRECT, PIKA, Wire

MUST_RATIO = 0.5
BATCH = 500


def plain(url: str, count: int) -> tuple[float, float]:
    """What pika alone takes: publishes in batches, counts confirms."""
    marks: list[float] = []
    channels: list[Any] = []
    confirmed = sent = 0

    def on_confirm(frame: Any) -> None:
        nonlocal confirmed
        confirmed = frame.method.delivery_tag
        if confirmed == count:
            connection.close()
        elif confirmed > sent - BATCH:
            publish()

    def publish() -> None:
        nonlocal sent
        for _ in range(min(BATCH, count - sent)):
            made = fresh(QUEUE, BODY).properties
            id, headers = made.get("message_id"), made.headers()
            properties = pika.BasicProperties(message_id=id, headers=headers, delivery_mode=2)
            channels[0].basic_publish("", QUEUE, BODY, properties, mandatory=True)
            sent += 1

    def begin(channel: Any) -> None:
        channels.append(channel)
        marks.extend((time.process_time(), time.monotonic()))
        publish()

    connection = SelectConnection(
        pika.URLParameters(url),
        on_open_callback=lambda made: made.channel(
            on_open_callback=lambda opened: opened.confirm_delivery(on_confirm, callback=lambda _: begin(opened))
        ),
        on_close_callback=lambda made, _error: made.ioloop.stop(),
    )
    connection.ioloop.start()
    return time.process_time() - marks[0], time.monotonic() - marks[1]


def hermes(url: str, count: int, wire: Wire) -> tuple[float, float]:
    """The publisher of a worker, fed as fast as it confirms."""
    done = threading.Event()
    io = IoThread("bench", done.set)
    publisher = Publisher(io.loop, [url], name="bench", wire=wire)
    confirmed = sent = 0

    def on_answer(_answer: object, _words: str) -> None:
        nonlocal confirmed
        confirmed += 1
        if confirmed == count:
            done.set()
        elif confirmed > sent - BATCH and sent < count:
            publish()

    def publish() -> None:
        nonlocal sent
        batch = min(BATCH, count - sent)
        sent += batch
        for _ in range(batch):
            publisher.publish(fresh(QUEUE, BODY), on_answer)

    io.start()
    marks = time.process_time(), time.monotonic()
    io.call(publish)
    done.wait()
    taken = time.process_time() - marks[0], time.monotonic() - marks[1]
    io.stop()
    return taken


VARIANTS: dict[str, Callable[[str, int], tuple[float, float]]] = {
    "plain": plain,
    "pika": lambda url, count: hermes(url, count, PIKA),
    "direct": lambda url, count: hermes(url, count, DIRECT),
}


def measure(variant: str, url: str, count: int) -> tuple[float, float]:
    """µs of client CPU a message, and confirmed messages a second."""
    connection = connect([url], name="bench")
    connection.channel().queue_delete(QUEUE)
    connection.channel().queue_declare(QUEUE, durable=True)
    connection.close()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=_child, args=(variant, url, count, sender))
    child.start()
    cpu_s, seconds = receiver.recv()
    child.join()
    return cpu_s / count * 1e6, count / seconds


def _child(variant: str, url: str, count: int, sender: multiprocessing.connection.Connection) -> None:
    sender.send(VARIANTS[variant](url, count))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures: dict[str, list[tuple[float, float]]] = {variant: [] for variant in VARIANTS}
    with LocalBroker() as broker:
        for round_number in range(options.rounds):
            for variant, taken in figures.items():
                taken.append(measure(variant, broker.url(), options.messages))
                cpu_us, rate_hz = taken[-1]
                print(f"round {round_number + 1}: {variant:7s} {cpu_us:6.1f} µs, {rate_hz:7.0f}/s", flush=True)
    cpu = {variant: round(statistics.median(cpu for cpu, _ in taken), 1) for variant, taken in figures.items()}
    rate = {variant: round(statistics.median(rate for _, rate in taken)) for variant, taken in figures.items()}
    ratio = round(cpu["direct"] / cpu["pika"], 3)
    print(json.dumps({"cpu_us": cpu, "rate_hz": rate, "ratio": ratio, "must": MUST_RATIO}))
    return 0 if ratio <= MUST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
