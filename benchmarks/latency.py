"""Latency on an idle queue: from publish to the start of the handler, beside a bare pika consumer.

    .venv/bin/python -m benchmarks.latency [--messages 1000]

A private broker, 256-byte bodies, a classic queue for each of the three: pika's BlockingConnection, and a whole worker
with a sync and with an async handler, each in a process of its own. All of them wait while one message at a time goes
to one after the other, 10 ms after the last one was handled. The clock is the machine's monotonic one. The last line
is JSON with the medians (µs) and the ratios of the two workers to pika.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from multiprocessing.connection import Connection

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic

from benchmarks.consume import BODY
from benchmarks.peers.worker import Outlet, spec
from hermes_ray.broker.connection import connect
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.message import Message
from hermes_ray.worker.worker import Worker

MUST_RATIO = 1.2
PAUSE_S = 0.01
WARM_UP = 20
OURS = {"sync": "handle", "async": "handle_async"}

_answers: list[Connection] = []


def _answer() -> None:
    now_ns = time.monotonic_ns()
    _answers[0].send(now_ns)


def handle(_message: Message) -> None:
    _answer()


async def handle_async(_message: Message) -> None:
    _answer()


def _blocking(url: str, queue: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=4)

    def on_message(channel: BlockingChannel, method: Basic.Deliver, _properties: object, _body: bytes) -> None:
        _answer()
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, on_message)
    channel.start_consuming()


def _child(url: str, kind: str, answers: Connection) -> None:
    _answers.append(answers)
    if kind == "pika":
        _blocking(url, kind)
        return
    sys.modules["benchmarks.latency"] = sys.modules[__name__]  # the handler finds what this process was told
    outlet = Outlet()
    Worker(spec(url, kind, f"benchmarks.latency:{OURS[kind]}"), outlet)
    outlet.ended.wait()


def measure(url: str, count: int) -> dict[str, list[float]]:
    """µs of each message, by kind."""
    connection = connect([url], name="bench")
    channel = connection.channel()
    taken: dict[str, list[float]] = {kind: [] for kind in ("pika", *OURS)}
    pipes = {kind: multiprocessing.Pipe(duplex=False) for kind in taken}
    children = []
    for kind, (_, sender) in pipes.items():
        channel.queue_declare(kind, durable=True, arguments={"x-queue-type": "classic"})
        child = multiprocessing.get_context("spawn").Process(target=_child, args=(url, kind, sender), daemon=True)
        child.start()
        children.append(child)
    for number in range(WARM_UP + count):
        for kind, latencies in taken.items():
            time.sleep(PAUSE_S)
            published_ns = time.monotonic_ns()
            channel.basic_publish("", kind, BODY)
            latency_us = (pipes[kind][0].recv() - published_ns) / 1e3
            if number >= WARM_UP:
                latencies.append(latency_us)
    for child in children:
        child.kill()
        child.join()
    connection.close()
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000)
    options = parser.parse_args()
    with LocalBroker() as broker:
        taken = measure(broker.url(), options.messages)
    for kind, latencies in taken.items():
        p50, p90, p99 = (statistics.quantiles(latencies, n=100)[n] for n in (49, 89, 98))
        print(f"{kind:5s} p50 {p50:6.0f} µs, p90 {p90:6.0f}, p99 {p99:6.0f}")
    p50s = {kind: round(statistics.median(latencies)) for kind, latencies in taken.items()}
    ratios = {f"{kind}_ratio": round(p50s[kind] / p50s["pika"], 2) for kind in OURS}
    print(json.dumps({**p50s, **ratios, "must": MUST_RATIO}))
    return 0 if max(ratios.values()) <= MUST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
