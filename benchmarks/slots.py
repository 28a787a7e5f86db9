"""Slots that wait: how many messages of 50 ms a worker handles, against what its slots could at most.

    .venv/bin/python -m benchmarks.slots [--seconds 10] [--rounds 3]

A private broker, 256-byte bodies, a handler that sleeps for 50 ms, in 256 slots of the event loop and in 64 threads: a
whole worker, in a process of its own, once it holds more than one message a slot. Ideal is slots / 50 ms. Beside it
what as many tasks or threads reach that only sleep: what is missing there is the machine's. The last line is JSON with
the medians of the part of the ideal that was reached.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from benchmarks.consume import BODY
from benchmarks.peers.worker import Outlet, spec
from hermes_ray.broker.connection import connect
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.message import Message
from hermes_ray.worker.worker import Worker

MUST_RATIO = 0.96
SERVICE_S = 0.05
VARIANTS = {"async": ("sleep_async", 256), "threads": ("sleep", 64)}
QUEUE = "bench"


def sleep(_message: Message) -> None:
    time.sleep(SERVICE_S)


async def sleep_async(_message: Message) -> None:
    await asyncio.sleep(SERVICE_S)


async def _bare_async(count: int, seconds: float) -> int:
    done, end_s = 0, time.monotonic() + seconds

    async def go_on() -> None:
        nonlocal done
        while time.monotonic() < end_s:
            await asyncio.sleep(SERVICE_S)
            done += 1

    await asyncio.gather(*[go_on() for _ in range(count)])
    return done


def _bare_threads(count: int, seconds: float) -> int:
    end_s = time.monotonic() + seconds

    def go_on(_number: int) -> int:
        done = 0
        while time.monotonic() < end_s:
            time.sleep(SERVICE_S)
            done += 1
        return done

    with ThreadPoolExecutor(count) as threads:
        return sum(threads.map(go_on, range(count)))


def _bare(handler: str, concurrency: int, seconds: float, sender: Connection) -> None:
    """Nothing but sleeps."""
    from_s = time.monotonic()
    is_async = handler == "sleep_async"
    done = asyncio.run(_bare_async(concurrency, seconds)) if is_async else _bare_threads(concurrency, seconds)
    sender.send(done / (time.monotonic() - from_s))


def _worker(url: str, handler: str, concurrency: int, seconds: float, sender: Connection) -> None:
    worker = Worker(spec(url, QUEUE, f"{__name__}:{handler}", concurrency=concurrency), Outlet())
    while worker.state().prefetch == concurrency:  # until it has seen what a message takes, in the first second or two
        time.sleep(0.1)
    time.sleep(1.0)
    before, at_s = worker.state().counters.runs.finished, time.monotonic()
    time.sleep(seconds)
    sender.send((worker.state().counters.runs.finished - before) / (time.monotonic() - at_s))


def fill(url: str, count: int) -> None:
    connection = connect([url], name="bench fill")
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "classic"})
    channel.queue_purge(QUEUE)
    for _ in range(count):
        channel.basic_publish("", QUEUE, BODY)
    connection.close()


def measure(variant: str, url: str, seconds: float) -> tuple[float, float]:
    """The parts of the ideal rate that a worker and bare sleeps reach."""
    handler, concurrency = VARIANTS[variant]
    ideal_hz = concurrency / SERVICE_S
    fill(url, int(ideal_hz * (seconds + 6.0)))
    worker_hz = _rate_of(_worker, url, handler, concurrency, seconds)
    return worker_hz / ideal_hz, _rate_of(_bare, handler, concurrency, seconds) / ideal_hz


def _rate_of(target: Callable[..., None], *arguments: object) -> float:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=target, args=(*arguments, sender), daemon=True)
    child.start()
    rate_hz: float = receiver.recv()
    child.kill()
    child.join()
    return rate_hz


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ratios: dict[str, list[float]] = {}
    with LocalBroker() as broker:
        for number in range(options.rounds):
            for variant, (_, concurrency) in VARIANTS.items():
                worker, bare = measure(variant, broker.url(), options.seconds)
                ratios.setdefault(variant, []).append(worker)
                ratios.setdefault(f"{variant} bare", []).append(bare)
                print(f"round {number + 1}: {concurrency} {variant:7s} {worker:.3f}, bare {bare:.3f}", flush=True)
    medians = {variant: round(statistics.median(taken), 3) for variant, taken in ratios.items()}
    print(json.dumps({**medians, "must": MUST_RATIO}))
    return 0 if min(medians[variant] for variant in VARIANTS) >= MUST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
