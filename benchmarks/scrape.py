"""What a scrape of many topics costs, and how long it holds up a tick.

A tick is pure Python in another thread of the scaler's process: here 0.4 s of it each second, alone and while a
scraper, a process of its own, asks at once again. Held up is the time in which the tick wanted to run and did not: its
wall time without its CPU time. ``python -m benchmarks.scrape``
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

from hermes_ray.telemetry.exporter import Exporter
from hermes_ray.telemetry.figures import Figures
from tests.support.figures import figures_of, orders

TICK_S, PERIOD_S = 0.4, 1.0
PORT = 19_464
STEPS = 20_000  # of the load, whose time is measured first
SCRAPER = """
import json, sys, time, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
while True:
    began_s = time.monotonic()
    text = opener.open(sys.argv[1], timeout=60).read()
    moment = text.rpartition(b"hermes_figures_timestamp_seconds ")[2].decode()
    print(json.dumps([time.monotonic() - began_s, len(text), moment]), flush=True)
"""


def load(steps: int) -> int:
    """Pure Python, as a tick is."""
    total = 0
    for n in range(steps):
        total += hash((n, total)) % 7
    return total


def calibrated() -> int:
    """The steps of ``load`` that take ``TICK_S`` alone."""
    began_s = time.thread_time()
    load(20 * STEPS)
    return round(20 * STEPS * TICK_S / (time.thread_time() - began_s))


class Ticks:
    """A tick of the same work each second; ``idle`` is cleared while one runs, and each makes new figures."""

    def __init__(self, figures: Figures) -> None:
        self.idle = threading.Event()
        self.idle.set()
        self.figures = figures
        self._steps = calibrated()

    def held_up_s(self, count: int) -> list[float]:
        """For how long each of ``count`` ticks was held up."""
        held_up_s = []
        for _ in range(count):
            began_s, began_cpu_s = time.perf_counter(), time.thread_time()
            self.idle.clear()
            load(self._steps)
            self.figures = replace(self.figures, at_s=self.figures.at_s + 1)
            self.idle.set()
            took_s = time.perf_counter() - began_s
            held_up_s.append(took_s - (time.thread_time() - began_cpu_s))
            time.sleep(max(0.0, PERIOD_S - took_s))
        return held_up_s


def measure(topic_count: int, tick_count: int, *, gives_way: bool) -> dict[str, Any]:
    """Milliseconds that ticks are held up, without and with a scraper, and what its scrapes take."""
    ticks = Ticks(figures_of(*(orders(topic=f"topic_{n}", queue=f"queue_{n}") for n in range(topic_count))))
    idle = ticks.idle if gives_way else None
    exporter = Exporter("127.0.0.1", PORT, lambda: ticks.figures, lambda: None, idle)
    assert exporter.url is not None, exporter.warning
    alone_s = ticks.held_up_s(tick_count)
    with tempfile.TemporaryFile("w+") as log:  # a pipe that nobody reads would stop the scraper
        command = [sys.executable, "-c", SCRAPER, exporter.url]
        with subprocess.Popen(command, stdout=log, stderr=subprocess.DEVNULL) as scraper:
            ticks.held_up_s(3)
            scraped_s = ticks.held_up_s(tick_count)
            scraper.kill()
        exporter.close()
        log.seek(0)
        scrapes = [json.loads(line) for line in log]
    fresh_s = [took_s for (_, _, before), (took_s, _, moment) in pairwise(scrapes) if moment != before]
    return {
        "topics": topic_count,
        "gives_way": gives_way,
        "held_up_ms_alone": _spread(alone_s),
        "held_up_ms_scraped": _spread(scraped_s),
        "scrapes": len(scrapes),
        "fresh_scrapes": len(fresh_s),
        "fresh_scrape_s": _spread(fresh_s, digits=2, scale=1),
        "bytes": scrapes[-1][1],
    }


def _spread(seconds: list[float], digits: int = 1, scale: float = 1000) -> list[float]:
    """Median, 9 of 10, worst; in milliseconds, or in seconds with a scale of 1."""
    ascending = sorted(seconds)
    return [round(ascending[round(part * (len(seconds) - 1))] * scale, digits) for part in (0.5, 0.9, 1.0)]


def main() -> None:
    """Print a line of JSON for each number of topics, with scrapes that give way and with such that do not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topics", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--ticks", type=int, default=30)
    given = parser.parse_args()
    for topic_count in given.topics:
        for gives_way in (False, True):
            print(json.dumps(measure(topic_count, given.ticks, gives_way=gives_way)), flush=True)


if __name__ == "__main__":
    main()
