"""What a tick of the scaler costs, its memory written to disk: seconds of one core per second, by size of deployment.

Ray and the broker are faked at the edges; everything between is real. ``python -m benchmarks.scaler``
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from hermes_ray.broker.depth import DepthProber, ProbeFailure
from hermes_ray.config.settings import Config, TopicConfig, WorkersConfig
from hermes_ray.core.model import Bundle, Capacity, Node, Probe
from hermes_ray.deploy.plan import Plan, worker_spec
from hermes_ray.scaler.checkpoint import Checkpoint
from hermes_ray.scaler.control_loop import ControlLoop
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.memory import Memory
from tests.support.fleet_scene import FakePool, FakeView
from tests.support.reports import report

SIZES = ((11, 5), (100, 10))  # topics, workers each
TICKS, COUNTED = 80, 40  # a minute of history first


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


def measure(topic_count: int, worker_count: int, directory: Path) -> dict[str, Any]:
    """Medians over the last ticks of a deployment of this size in which every worker reports at each."""
    workers = WorkersConfig(min=worker_count, max=worker_count)
    topics = {f"topic_{n}": TopicConfig(handler="m:f", workers=workers) for n in range(topic_count)}
    plan = Plan(config=Config(topics=topics), concurrency=dict.fromkeys(topics, 4))
    specs = {topic: worker_spec(plan, topic) for topic in topics}
    pool, depths, checkpoint = FakePool(), Depths(topics), Checkpoint(directory / "scaler.json")
    nodes = (Node(node_id="node", available=Bundle(num_cpus=1e5)),)
    fleet = Fleet(plan, pool, FakeView(answer=Capacity(nodes=nodes)))
    loop = ControlLoop(plan, Memory(generation=0, cluster_id=""), fleet, cast("DepthProber", depths), checkpoint.write)
    took_s = []
    for tick in range(1, TICKS + 1):
        depths.now_s = 1e6 + tick
        said = [_says(worker, tick, specs[worker.rpartition("/")[0]]) for worker in pool.workers]
        began_s = time.process_time()
        loop.tick([(each, depths.now_s) for each in said], depths.now_s)
        took_s.append(time.process_time() - began_s)
    return {
        "topics": topic_count,
        "workers": topic_count * worker_count,
        "core_ratio": round(statistics.median(took_s[-COUNTED:]), 3),
        "memory_bytes": checkpoint.path.stat().st_size,
    }


def _says(worker: str, tick: int, spec: Any) -> dict[str, Any]:
    done = {"acked": 10 * tick, "finished": 10 * tick, "busy_s": 2.0 * tick, "service": (tick,) * 107}
    return report(worker, tick, revision=spec.revision, settings=spec.queue.settings, **done)


def main() -> None:
    """Print a line of JSON for each size."""
    with tempfile.TemporaryDirectory() as directory:
        for topic_count, worker_count in SIZES:
            print(json.dumps(measure(topic_count, worker_count, Path(directory))))


if __name__ == "__main__":
    main()
