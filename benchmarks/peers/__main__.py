"""hermes_ray beside what users would pick: client CPU per message and rate, in one run on one broker.

    make bench-peers
    .venv/bin/python -m benchmarks.peers [--rounds 5] [--seconds 5] [--only NAME ...]

A private broker, a classic queue for each client, 256 bytes as the body or the one argument of a task, a handler that
does nothing, 500 prefetched. Each client runs as its users run it, started by its own command, with logs of each
message off. Rounds are interleaved; a round measures ``seconds`` of a client in full flow, start-up left out: CPU of
its whole process tree from /proc, messages by what has left its queue. The last line is JSON with the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pika.adapters.blocking_connection import BlockingChannel

from benchmarks.peers.clients import APPS, PREFETCH, Client, all_clients, environment
from benchmarks.peers.processes import cpu_s, end
from benchmarks.peers.queues import fill, message_of, ready_count
from hermes_ray.broker.connection import connect
from hermes_ray.broker.private.local import LocalBroker

START_S = 60.0
SETTLE_S = 1.0
LEAST_RATIO = {"celery solo": 15.0, "dramatiq": 10.0, "faststream": 10.0}
AIM_RATIO = {"celery solo": 20.0, "dramatiq": 12.0, "faststream": 12.0}
MOST_OF_C, AIM_OF_C = 3.5, 2.5
OURS = ("hermes_ray sync", "hermes_ray async")


class Figure(NamedTuple):
    """Of one client in one round."""

    cpu_us: float
    rate_hz: float


class _RanDry(Exception):
    """The queue was empty before the time was over."""


@contextmanager
def _running(client: Client, url: str) -> Iterator[subprocess.Popen[bytes]]:
    cwd = None if client.name in OURS else APPS
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            client.runs, cwd=cwd, env=environment(client, url), stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process
        except TimeoutError:
            log.seek(0)
            sys.stderr.buffer.write(log.read()[-4_000:])
            raise
        finally:
            end(process)


def measure(channel: BlockingChannel, client: Client, url: str, seconds: float, count: int) -> Figure:
    """``client`` in full flow for ``seconds``, with ``count`` messages waiting for it."""
    fill(channel, client.queue, count)
    with _running(client, url) as process:
        deadline_s = time.monotonic() + START_S
        while ready_count(channel, client.queue) > count - 3 * PREFETCH:
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise TimeoutError(f"{client.name} does not consume")
            time.sleep(0.05)
        time.sleep(SETTLE_S)
        ready, used_s, at_s = ready_count(channel, client.queue), cpu_s(process.pid), time.monotonic()
        time.sleep(seconds)
        left, used_s, took_s = (
            ready_count(channel, client.queue),
            cpu_s(process.pid) - used_s,
            time.monotonic() - at_s,
        )
    if not left:
        raise _RanDry
    return Figure(cpu_us=used_s / (ready - left) * 1e6, rate_hz=(ready - left) / took_s)


def play(url: str, rounds: int, seconds: float, only: Sequence[str]) -> dict[str, list[Figure]]:
    """All rounds of all clients, or of those that are named."""
    channel = connect([url], name="bench").channel()
    clients = [client for client in all_clients(url) if not only or client.name in only]
    for client in clients:
        message_of(channel, client, url)
    expected_hz = {client.name: float(client.first_hz) for client in clients}
    figures: dict[str, list[Figure]] = {client.name: [] for client in clients}
    for number in range(rounds):
        for client in clients:
            while len(figures[client.name]) == number:
                count = int(1.4 * expected_hz[client.name] * (seconds + SETTLE_S)) + 5 * PREFETCH
                try:
                    figure = measure(channel, client, url, seconds, count)
                except _RanDry:
                    expected_hz[client.name] *= 1.5
                    continue
                figures[client.name].append(figure)
                expected_hz[client.name] = figure.rate_hz
                print(
                    f"round {number + 1}: {client.name:17s} {figure.cpu_us:7.1f} µs {figure.rate_hz:8.0f}/s", flush=True
                )
    return figures


def judge(cpu_us: dict[str, float]) -> dict[str, float]:
    """Ratios of the slower of our two kinds: of what peers take to ours, and of ours to the C consumer's."""
    ours = max(cpu_us[name] for name in OURS if name in cpu_us)
    ratios = {f"{name} / ours": round(taken / ours, 1) for name, taken in cpu_us.items() if name not in OURS}
    if "librabbitmq" in cpu_us:
        ratios["ours / librabbitmq"] = round(ours / cpu_us["librabbitmq"], 2)
    return ratios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    with LocalBroker() as broker:
        figures = play(broker.url(), options.rounds, options.seconds, options.only)
    cpu_us = {name: round(statistics.median(f.cpu_us for f in taken), 1) for name, taken in figures.items()}
    rate_hz = {name: round(statistics.median(f.rate_hz for f in taken)) for name, taken in figures.items()}
    ratios = judge(cpu_us)
    print("\n| | µs a message | messages/s | sync | async |\n|---|---|---|---|---|")
    for name, taken in cpu_us.items():
        times = " | ".join(f"{taken / cpu_us[ours]:.1f}" if ours in cpu_us else "" for ours in OURS)
        print(f"| {name} | {taken} | {rate_hz[name]:,} | {times} |")
    print(json.dumps({"cpu_us": cpu_us, "rate_hz": rate_hz, "ratios": ratios, "must": LEAST_RATIO, "of C": MOST_OF_C}))
    is_met = all(ratios.get(f"{name} / ours", least) >= least for name, least in LEAST_RATIO.items())
    return 0 if is_met and ratios.get("ours / librabbitmq", 0.0) <= MOST_OF_C else 1


if __name__ == "__main__":
    sys.exit(main())
