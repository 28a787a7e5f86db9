"""A fleet with Ray faked at its edge: a pool that notes what it is told, and workers that report what a test says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.config.loading import load
from hermes_ray.config.settings import Config
from hermes_ray.core.model import Capacity, Node
from hermes_ray.core.resources import Resources
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.plan import Plan
from hermes_ray.scaler.ports import StartResult
from hermes_ray.scaler.rolling import NONE_WANTED
from hermes_ray.scaler.roster import Roster
from hermes_ray.scaler.start_backoff import EARLY_DEATH_S
from hermes_ray.worker.spec import WorkerSpec
from tests.support.plan_specs import PlanSpecs
from tests.support.reports import report

T0 = 1_000_000.0
PLENTY = Capacity(nodes=(Node(node_id="node", available={"CPU": 1000}),))


@dataclass
class FakePool:
    """Starts at once whatever is asked for; drains and kills are noted and end nothing by themselves."""

    workers: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    drained: list[tuple[str, float]] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    ended: list[tuple[str, str, int]] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    specs: dict[str, WorkerSpec] = field(default_factory=dict)
    nodes: dict[str, str | None] = field(default_factory=dict)
    sizes: dict[str, Resources] = field(default_factory=dict)
    results: list[StartResult] = field(default_factory=list)
    processless: set[str] = field(default_factory=set)
    names: Iterable[int] = field(default_factory=count)

    def start(self, spec: WorkerSpec, topic: str, size: Resources, node_id: str | None = None) -> str:
        worker = f"{topic}/{next(iter(self.names)):08x}"
        self.workers.append(worker)
        self.started.append(worker)
        self.specs[worker] = spec
        self.nodes[worker] = node_id
        self.sizes[worker] = size
        return worker

    def living(self) -> list[str]:
        return list(self.workers)

    def waiting(self) -> set[str]:
        return self.processless

    def start_results(self) -> list[StartResult]:
        results, self.results = self.results, []
        return results

    def drain(self, worker: str, timeout_s: float) -> None:
        self.drained.append((worker, timeout_s))

    def adapt(self, worker: str, queue: QueueSpec) -> None:
        self.adapted.append(worker)

    def kill(self, worker: str) -> None:
        self.killed.append(worker)

    def end_process(self, worker: str, node_id: str, pid: int) -> None:
        self.ended.append((worker, node_id, pid))


@dataclass
class FakeView:
    """A cluster of which Ray says what the test says, noting how it was asked."""

    answer: Capacity | None = None
    asked: list[tuple[dict[str, dict[str, float]], list[Resources]]] = field(default_factory=list)

    def capacity(
        self,
        ours: Mapping[str, Resources],
        unplaced: Iterable[Resources],
        sizes: Iterable[Resources],
        now_s: float,
    ) -> Capacity | None:
        self.asked.append(({node: dict(held) for node, held in ours.items()}, list(unplaced)))
        return self.answer


def config(*words: str) -> Config:
    both = ["topics.light.handler=m:f", "topics.heavy.handler=m:f", "topics.heavy.weight=10"]
    return load(None, [*both, *words])


def plan(*words: str, code: str = "") -> Plan:
    made = config(*words)
    return Plan(config=made, concurrency=dict.fromkeys(made.topics, 4), code=code)


class Scene:
    """A fleet, its pool and a clock that the test turns; a tick is what the scaler does each second."""

    def __init__(self, *words: str) -> None:
        self.pool, self.view, self.now_s = FakePool(), FakeView(), T0
        self.plan = plan(*words)
        self.fleet = Fleet(self.plan, self.pool, self.view)
        self.seqs = count(1)
        self._specs = PlanSpecs()

    def applied(self, *words: str, code: str = "") -> None:
        """The fleet of the next plan goes on from what the one before it has written down."""
        self.plan = plan(*words, code=code)
        self.fleet = Fleet(self.plan, self.pool, self.view, Roster({}, self.fleet.roster.remembered(), self.now_s))

    def tick(
        self,
        after_s: float = 1.0,
        capacity: Capacity | None = PLENTY,
        *,
        kept: Collection[str] = (),
        wanted: Mapping[str, int] = NONE_WANTED,
        **targets: int,
    ) -> list[str]:
        self.now_s += after_s
        lines = self.fleet.refresh(self.now_s)
        everybody = dict.fromkeys(self.plan.config.topics, 0) | targets
        return lines + self.fleet.reconcile(everybody, capacity, self.now_s, kept, wanted)

    def says(self, worker: str, **said: Any) -> None:
        topic = worker.partition("/")[0]
        spec = self.pool.specs.get(worker) or self._specs.of(self.plan, topic)
        made = {} if spec is None else {"revision": spec.revision, "settings": spec.queue.settings}
        self.fleet.roster.take(report(worker, next(self.seqs), **(made | said)), self.now_s)

    def fails(self, worker: str, error: str = "ImportError: no module") -> None:
        """Its constructor raised: Ray tells us, and the actor is gone by the next look."""
        self.pool.results.append(StartResult(worker=worker, error=error))

    def gone(self, *workers: str) -> None:
        for worker in workers:
            self.pool.workers.remove(worker)

    def up(self, *, light: int = 0, heavy: int = 0) -> list[str]:
        """Workers that consume and have done so for a while."""
        self.tick(light=light, heavy=heavy)
        for after_s in (0.0, EARLY_DEATH_S):
            self.now_s += after_s
            for worker in self.pool.started:
                self.says(worker)
        self.tick(light=light, heavy=heavy)
        return list(self.pool.started)
