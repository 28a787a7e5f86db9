"""What sharing the cluster and bringing workers to it cost once a second: when nothing changes, and when much does.

``python -m benchmarks.allocate [TOPICSxWORKERSxNODES]...``, workers of all topics together, of five sizes and five
weights.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hermes_ray.config.settings import Config, TopicConfig, WorkerConfig, WorkersConfig
from hermes_ray.core.allocate import Want, allot
from hermes_ray.core.model import Capacity, Node
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.plan import Plan
from tests.support.fleet_scene import FakePool, FakeView

SIZES = ("10x100x3", "100x1000x30", "1000x10000x300")
CPUS = (0.25, 0.5, 1.0, 2.0, 4.0)
ROUNDS = 15


class Deployment:
    """A fleet at its size, on nodes that it fills to two thirds."""

    def __init__(self, topic_count: int, worker_count: int, node_count: int) -> None:
        each = worker_count // topic_count
        topics = {
            f"topic_{n}": TopicConfig(
                handler="m:f",
                weight=1.0 + n // 5 % 5,
                worker=WorkerConfig(num_cpus=CPUS[n % 5]),
                workers=WorkersConfig(min=min(2, each), max=2 * each),
            )
            for n in range(topic_count)
        }
        self.view = FakeView()
        plan = Plan(config=Config(topics=topics), concurrency=dict.fromkeys(topics, 4))
        self.fleet = Fleet(plan, FakePool(), self.view)
        self.targets = dict.fromkeys(topics, each)
        cpus = 1.5 * each * sum(topic.worker.num_cpus for topic in topics.values()) / node_count
        self.nodes = [f"node_{n:03}" for n in range(node_count)]
        self.available = {"CPU": float(round(cpus)), "memory": 256e9}
        self.now_s = 1e6

    def capacity(self) -> Capacity:
        """As the view of a cluster has it, which the fleet tells who lives where."""
        self.fleet.capacity(self.now_s)
        self.view.asked.clear()
        return Capacity(nodes=tuple(Node(node_id=n, available=self.available) for n in self.nodes))

    def wants(self) -> list[Want]:
        return [
            Want(
                topic=topic,
                weight=self.fleet.params[topic].weight,
                minimum=self.fleet.params[topic].workers_min,
                target=target,
                size=self.fleet.params[topic].worker,
            )
            for topic, target in self.targets.items()
        ]

    def second(self) -> None:
        """What one tick does of it."""
        self.now_s += 1.0
        capacity = self.capacity()
        shared = allot(self.wants(), capacity)
        self.fleet.reconcile({topic: shared.grant(topic) for topic in self.targets}, capacity, self.now_s)


def measure(topic_count: int, worker_count: int, node_count: int) -> dict[str, Any]:
    """Medians over some seconds, ms of CPU."""
    deployment = Deployment(topic_count, worker_count, node_count)
    deployment.second()  # starts them all
    deployment.fleet.refresh(deployment.now_s)
    steady_ms = _median_ms(deployment.second)
    capacity, wants = deployment.capacity(), deployment.wants()
    allot_ms = _median_ms(lambda: allot(wants, capacity))
    many = [replace(want, weight=1.0, minimum=0, size={"CPU": 0.25 + n % 200 / 1000}) for n, want in enumerate(wants)]
    many_sizes_ms = _median_ms(lambda: allot(many, capacity), 3)

    def more() -> None:
        deployment.targets = {topic: count + 1 for topic, count in deployment.targets.items()}
        deployment.second()

    growing_ms = _median_ms(more, 3)
    deployment.targets = {topic: 3 * count for topic, count in deployment.targets.items()}
    return {
        "topics": topic_count,
        "workers": worker_count,
        "nodes": node_count,
        "nothing_changes_ms": steady_ms,
        "of_it_allot_ms": allot_ms,
        "allot_200_sizes_ms": many_sizes_ms,
        "each_topic_one_more_ms": growing_ms,
        "three_times_too_many_ms": _median_ms(deployment.second, 3),
    }


def _median_ms(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    took_s = []
    for _ in range(rounds):
        began_s = time.process_time()
        action()
        took_s.append(time.process_time() - began_s)
    return round(1000 * statistics.median(took_s), 1)


def main() -> None:
    """Print a line of JSON for each size."""
    for size in sys.argv[1:] or SIZES:
        print(json.dumps(measure(*map(int, size.split("x")))))


if __name__ == "__main__":
    main()
