"""What a tick of the scaler costs, by size of deployment: everything in it but Ray's own calls.

Workers report at the interval that the scaler gives them, spread evenly; reports are decoded, the memory is written to
a real file. ``python -m benchmarks.scaler [TOPICSxWORKERS]...``, workers of all topics together.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hermes_ray.broker.depth import ProbeFailure
from hermes_ray.config.settings import Config, TopicConfig, WorkersConfig
from hermes_ray.core.model import Capacity, Node, Probe
from hermes_ray.scaler.checkpoint import Checkpoint
from hermes_ray.scaler.clock import Anchor
from hermes_ray.scaler.control_loop import ControlLoop
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.memory import Changes, Header, Memory
from hermes_ray.scaler.memory_writer import MemoryWriter
from hermes_ray.scaler.plan import Plan, worker_spec
from hermes_ray.worker.report import decode, encode
from tests.support.fleet_scene import FakePool, FakeView
from tests.support.reports import report

SIZES = ("10x100", "100x1000", "1000x10000")
CALLS_PER_S = 240
WARM_UP, COUNTED = 90, 60
NODE_CPUS = 64


class Depths:
    """Five messages wait, whatever is done about it."""

    failures: Mapping[str, ProbeFailure] = MappingProxyType({})

    def __init__(self, topics: Mapping[str, TopicConfig]) -> None:
        self._topics = topics
        self.now_s = 0.0

    def probes(self) -> dict[str, Probe]:
        return {topic: Probe(at_s=self.now_s, ready_count=5) for topic in self._topics}

    def failure_count(self, _topic: str) -> int:
        return 0

    def waits_exist(self, _topic: str, _rungs_ms: Iterable[int]) -> None:
        return None

    def retried(self, _topic: str) -> None:
        return None

    def known_waits(self) -> dict[str, tuple[int, ...]]:
        return {}


class MeasuredCheckpoint(Checkpoint):
    """Counts what it writes, and the processor time of it."""

    written_bytes = 0
    took_s = 0.0

    def write(self, changes: Changes) -> None:
        began_s, before_bytes = time.process_time(), 0 if changes.is_whole else self.path.stat().st_size
        super().write(changes)
        self.took_s += time.process_time() - began_s
        self.written_bytes += self.path.stat().st_size - before_bytes


def measure(topic_count: int, worker_count: int, directory: Path) -> dict[str, Any]:
    """Medians over the last ticks of a deployment of this size."""
    each = worker_count // topic_count
    topics = {
        f"topic_{n}": TopicConfig(handler="m:f", workers=WorkersConfig(min=each, max=each)) for n in range(topic_count)
    }
    plan = Plan(config=Config(topics=topics), concurrency=dict.fromkeys(topics, 4))
    specs = {topic: worker_spec(plan, topic) for topic in topics}
    settings = next(iter(specs.values())).queue.settings
    pool, depths, checkpoint = FakePool(), Depths(topics), MeasuredCheckpoint(directory / "scaler.state")
    node_count = max(1, worker_count // (4 * NODE_CPUS)) + 1
    nodes = tuple(Node(node_id=f"node_{n}", available={"CPU": NODE_CPUS}) for n in range(node_count))
    fleet = Fleet(plan, pool, FakeView(answer=Capacity(nodes=nodes)))
    fleet.report_interval_s = min(max(1.0, worker_count / CALLS_PER_S), 40.0)
    writer = MemoryWriter(checkpoint, lambda: Anchor(at_s=depths.now_s))
    loop = ControlLoop(plan, Memory(header=Header()), fleet, depths, writer)
    ticks_s, report_bytes, turn = [], 0, max(1, round(fleet.report_interval_s))
    for tick in range(1, WARM_UP + COUNTED + 1):
        depths.now_s = 1e6 + tick
        due = [(n, worker) for n, worker in enumerate(pool.workers) if n % turn == tick % turn or tick < 3]
        said = [_says(worker, tick, specs, settings, f"node_{n % node_count}") for n, worker in due]
        if tick == WARM_UP:
            checkpoint.written_bytes, checkpoint.took_s = 0, 0.0
        began_s = time.process_time()
        loop.tick([(decode(data), depths.now_s) for data in said], depths.now_s)
        ticks_s.append(time.process_time() - began_s)
        report_bytes = max([report_bytes, *map(len, said)])
    last = ticks_s[-COUNTED:]
    return {
        "topics": topic_count,
        "workers": len(pool.workers),
        "tick_cpu_s": round(statistics.median(last), 4),
        "tick_cpu_max_s": round(max(last), 4),
        "report_interval_s": round(fleet.report_interval_s, 1),
        "report_bytes": report_bytes,
        "checkpoint_bytes": checkpoint.path.stat().st_size,
        "checkpoint_cpu_s_per_s": round(checkpoint.took_s / COUNTED, 4),
        "checkpoint_bytes_per_s": round(checkpoint.written_bytes / COUNTED),
    }


def _says(worker: str, tick: int, specs: Mapping[str, Any], settings: str, node_id: str) -> bytes:
    spec = specs[worker.rpartition("/")[0]]
    done = {
        "acked": 10 * tick,
        "finished": 10 * tick,
        "busy_s": 2.0 * tick,
        "service": (0,) * 40 + (tick,) * 20 + (0,) * 47,
    }
    return encode(report(worker, tick, revision=spec.revision, settings=settings, node_id=node_id, **done))


def main() -> None:
    """Print a line of JSON for each size."""
    for size in sys.argv[1:] or SIZES:
        topic_count, worker_count = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as directory:
            print(json.dumps(measure(topic_count, worker_count, Path(directory))))


if __name__ == "__main__":
    main()
