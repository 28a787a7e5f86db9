"""A small deterministic world of queues and workers, to play the policy's episodes from start to finish."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hermes_ray.core.estimate import History, observe, snapshot
from hermes_ray.core.histogram import BUCKET_COUNT, add, bucket
from hermes_ray.core.model import Capacity, Decision, Node, Override, Probe, TopicParams, Totals, WorkerCounts
from hermes_ray.core.policy import PolicyState, step

TICKS_PER_S = 10
NOTICED_DEAD_S = 2.0


@dataclass(slots=True)
class Worker:
    """``slots`` holds, for each message in hand, when it arrived and when its handler started."""

    ready_at_s: float
    slots: list[tuple[float, float]] = field(default_factory=list)
    finished: int = 0
    busy_s: float = 0.0
    service: list[int] = field(default_factory=lambda: [0] * BUCKET_COUNT)
    wait: list[int] = field(default_factory=lambda: [0] * BUCKET_COUNT)
    is_draining: bool = False
    dead_at_s: float | None = None
    report: Totals = field(default_factory=Totals)
    reported_s: float = 0.0

    def tell(self, now_s: float) -> None:
        self.reported_s = now_s
        self.report = Totals(
            held_count=len(self.slots),
            running_count=len(self.slots),
            longest_running_s=max((now_s - started_s for _, started_s in self.slots), default=0.0),
            settled_count=self.finished,
            finished_count=self.finished,
            busy_s=self.busy_s,
            service=tuple(self.service),
            wait=tuple(self.wait),
        )


@dataclass(slots=True)
class Topic:
    """One queue, its workers and what the scaler knows of both. ``rate_hz`` gives arrivals at a time."""

    params: TopicParams
    service_s: float
    rate_hz: Callable[[float], float]
    start_s: float = 1.0
    is_probed: bool = True
    ready: deque[float] = field(default_factory=deque)
    workers: list[Worker] = field(default_factory=list)
    departed: Totals = field(default_factory=Totals)
    history: History = field(default_factory=History)
    sojourns_s: list[float] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    arrived: int = 0
    owed: float = 0.0

    def publish(self, count: int, now_s: float) -> None:
        self.ready.extend([now_s] * count)
        self.arrived += count

    def tick(self, now_s: float, tick_s: float) -> None:
        self.owed += self.rate_hz(now_s) * tick_s
        self.publish(int(self.owed + 1e-9), now_s)
        self.owed -= int(self.owed + 1e-9)
        for worker in list(self.workers):
            self._work(worker, now_s, tick_s)

    def _work(self, worker: Worker, now_s: float, tick_s: float) -> None:
        if worker.dead_at_s is not None:
            if now_s >= worker.dead_at_s + NOTICED_DEAD_S:
                self._depart(worker)
            return
        worker.busy_s += tick_s * len(worker.slots)
        for arrived_s, started_s in [slot for slot in worker.slots if now_s - slot[1] >= self.service_s - 1e-9]:
            worker.slots.remove((arrived_s, started_s))
            worker.finished += 1
            worker.service[bucket(now_s - started_s)] += 1
            self.sojourns_s.append(now_s - arrived_s)
        if not worker.is_draining and now_s >= worker.ready_at_s:
            while self.ready and len(worker.slots) < self.params.concurrency:
                worker.wait[bucket(now_s - self.ready[0])] += 1
                worker.slots.append((self.ready.popleft(), now_s))
        if now_s - worker.reported_s >= 1.0 - 1e-9:
            worker.tell(now_s)
        if worker.is_draining and not worker.slots:
            worker.tell(now_s)
            self._depart(worker)

    def kill(self, worker: Worker, now_s: float) -> None:
        """As by kill -9: its messages are ready again at once, its last report stands until the death is noticed."""
        self.ready.extendleft(arrived_s for arrived_s, _ in reversed(worker.slots))
        worker.slots.clear()
        worker.dead_at_s = now_s

    def _depart(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.departed = _together(self.departed, worker.report, living=False)

    def look(self, now_s: float) -> None:
        totals = self.departed
        for worker in self.workers:
            totals = _together(totals, worker.report, living=True)
        probe = Probe(at_s=now_s, ready_count=len(self.ready)) if self.is_probed else None
        self.history = observe(self.history, probe, totals, now_s)

    def counts(self, now_s: float) -> WorkerCounts:
        staying = [worker for worker in self.workers if not worker.is_draining]
        starting = sum(now_s < worker.ready_at_s for worker in staying)
        draining = len(self.workers) - len(staying)
        return WorkerCounts(observed=len(staying) - starting, starting=starting, draining=draining)

    def apply(self, decision: Decision, now_s: float) -> None:
        self.decisions.append(decision)
        staying = [worker for worker in self.workers if not worker.is_draining]
        for worker in staying[decision.target :]:
            worker.is_draining = True
        for i in range(decision.target - len(staying)):
            reported_s = now_s + self.start_s - i % TICKS_PER_S / TICKS_PER_S
            self.workers.append(Worker(ready_at_s=now_s + self.start_s, reported_s=reported_s))

    def targets(self, since_s: float = 0.0, until_s: float = float("inf")) -> list[int]:
        return [decision.target for decision in self.decisions if since_s <= decision.at_s < until_s]


class World:
    """Topics on one node of ``num_cpus``; time advances in tenths of a second, the scaler acts each second."""

    def __init__(self, *topics: Topic, num_cpus: float = 1_000.0) -> None:
        self.topics = {topic.params.topic: topic for topic in topics}
        self.num_cpus = num_cpus
        self.ticks = 0
        self.policy = PolicyState()
        self.overrides: dict[str, Override] = {}

    @property
    def now_s(self) -> float:
        return self.ticks / TICKS_PER_S

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * TICKS_PER_S)):
            for topic in self.topics.values():
                topic.tick(self.now_s, 1 / TICKS_PER_S)
            if self.ticks % TICKS_PER_S == 0:
                self._scale()
            self.ticks += 1

    def _scale(self) -> None:
        now_s = self.now_s
        seen = {}
        for name, topic in self.topics.items():
            topic.look(now_s)
            seen[name] = snapshot(topic.history, name, topic.counts(now_s), now_s)
        params = {name: topic.params for name, topic in self.topics.items()}
        self.policy, decisions = step(self.policy, seen, self._capacity(), params, now_s, self.overrides)
        for decision in decisions:
            self.topics[decision.topic].apply(decision, now_s)

    def _capacity(self) -> Capacity:
        return Capacity(nodes=(Node(node_id="n", available={"CPU": self.num_cpus}),))


def _together(left: Totals, right: Totals, *, living: bool) -> Totals:
    return Totals(
        held_count=left.held_count + right.held_count * living,
        running_count=left.running_count + right.running_count * living,
        longest_running_s=max(left.longest_running_s, right.longest_running_s * living),
        settled_count=left.settled_count + right.settled_count,
        finished_count=left.finished_count + right.finished_count,
        busy_s=left.busy_s + right.busy_s,
        service=add(left.service, right.service),
        wait=add(left.wait, right.wait),
    )
