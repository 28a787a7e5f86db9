"""One topic from event to event: any service time and report interval, even or Poisson arrivals, handlers that hang."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random

from hermes_ray.core.arrivals import Taken, arrived, with_probe
from hermes_ray.core.estimate import History, observe, snapshot
from hermes_ray.core.histogram import BUCKET_COUNT, bucket
from hermes_ray.core.model import Capacity, Decision, Node, Probe, TopicParams, Totals, WorkerCounts
from hermes_ray.core.policy import PolicyState, step

START_S = 1.0
ROOM = Capacity(nodes=(Node(node_id="n", available={"CPU": 1e9}),))


@dataclass(slots=True, eq=False)
class Consumer:
    """``said`` is what its last report had: taken, running, the oldest start, finished, their seconds, busy seconds."""

    free: int
    up_s: float
    at_s: float
    next_report_s: float
    said: tuple[int, int, float, int, float, float]
    said_s: float
    before: tuple[float, int]
    starts: list[float] = field(default_factory=list)
    taken: int = 0
    finished: int = 0
    finished_s: float = 0.0
    busy_s: float = 0.0
    is_draining: bool = False

    def work_on(self, now_s: float) -> None:
        self.busy_s += len(self.starts) * (now_s - self.at_s)
        self.at_s = now_s

    def say(self, now_s: float, interval_s: float) -> None:
        self.next_report_s = now_s + interval_s
        self.before, self.said_s = (self.said_s, self.said[0]), now_s
        self.said = (
            self.taken,
            len(self.starts),
            min(self.starts, default=now_s),
            self.finished,
            self.finished_s,
            self.busy_s,
        )


class SteadyWorld:
    """``rate_hz`` arrivals a second, each handled in ``service_s(now_s)``, inf for one that never ends."""

    def __init__(
        self,
        rate_hz: float,
        service_s: Callable[[float], float],
        *,
        concurrency: int = 1,
        report_interval_s: float = 1.0,
        seed: int | None = None,
        workers_max: int = 500,
    ) -> None:
        self.params = TopicParams(topic="t", concurrency=concurrency, workers_max=workers_max, worker={"CPU": 1.0})
        self.now_s = 0.0
        self.decisions: list[Decision] = []
        self.history = History()
        self._rate_hz, self._service_s, self._interval_s = rate_hz, service_s, report_interval_s
        self._random = None if seed is None else Random(seed)
        self._policy, self._probes = PolicyState(), tuple[Probe, ...]()
        self._consumers: list[Consumer] = []
        self._ready: deque[None] = deque()
        self._next_s = 0.0
        self._ends: list[tuple[float, int, Consumer, float]] = []
        self._number = count()
        self._gone = Totals(finished_s=0.0)
        self._service = [0] * BUCKET_COUNT

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            until_s = self.now_s + 1.0
            while min(self._next_s, self._ends[0][0] if self._ends else until_s) < until_s:
                self._arrives() if not self._ends or self._next_s <= self._ends[0][0] else self._ends_one()
            self.now_s = until_s
            self._report()
            self._scale()

    def targets(self, since_s: float = 0.0) -> list[int]:
        return [decision.target for decision in self.decisions if decision.at_s >= since_s]

    def mean_target(self, since_s: float) -> float:
        targets = self.targets(since_s)
        return sum(targets) / len(targets)

    def _arrives(self) -> None:
        now_s = self._next_s
        self._next_s += 1 / self._rate_hz if self._random is None else self._random.expovariate(self._rate_hz)
        self._ready.append(None)
        for consumer in self._consumers:
            if consumer.free and consumer.up_s <= now_s:
                self._take(consumer, now_s)
                return

    def _ends_one(self) -> None:
        now_s, _, consumer, started_s = heapq.heappop(self._ends)
        consumer.work_on(now_s)
        consumer.starts.remove(started_s)
        consumer.free += 1
        consumer.finished += 1
        consumer.finished_s += now_s - started_s
        self._service[bucket(now_s - started_s)] += 1
        self._take(consumer, now_s)

    def _take(self, consumer: Consumer, now_s: float) -> None:
        consumer.work_on(now_s)
        while self._ready and consumer.free and not consumer.is_draining:
            self._ready.popleft()
            consumer.free -= 1
            consumer.taken += 1
            consumer.starts.append(now_s)
            heapq.heappush(self._ends, (now_s + self._service_s(now_s), next(self._number), consumer, now_s))

    def _report(self) -> None:
        for consumer in list(self._consumers):
            if consumer.up_s > self.now_s:
                continue
            self._take(consumer, self.now_s)
            is_done = consumer.is_draining and not consumer.starts
            if is_done or self.now_s >= consumer.next_report_s:
                consumer.say(self.now_s, self._interval_s)
            if is_done:
                self._consumers.remove(consumer)
                self._gone = self._totals([consumer])

    def _totals(self, consumers: list[Consumer]) -> Totals:
        said, gone = [consumer.said for consumer in consumers], self._gone
        finished = gone.finished_count + sum(report[3] for report in said)
        oldest_s = min((report[2] for report in said if report[1]), default=None)
        running = sum(report[1] for report in said)
        return Totals(
            held_count=running,
            running_count=running,
            longest_running_s=0.0 if oldest_s is None else self.now_s - oldest_s,
            settled_count=finished,
            finished_count=finished,
            finished_s=(gone.finished_s or 0.0) + sum(report[4] for report in said),
            busy_s=gone.busy_s + sum(report[5] for report in said),
            service=tuple(self._service),
        )

    def _scale(self) -> None:
        now_s, interval_s = self.now_s, self._interval_s
        probe = Probe(at_s=now_s, ready_count=len(self._ready))
        self._probes = with_probe(self._probes, probe, report_interval_s=interval_s)
        takings = [Taken(*c.before, c.said_s, c.said[0]) for c in self._consumers if c.up_s <= now_s]
        counted = arrived(
            self._probes, takings, now_s, report_interval_s=interval_s, gone_count=self._gone.settled_count
        )
        totals = self._totals(self._consumers)
        self.history = observe(
            self.history, probe, totals, now_s, counted, report_interval_s=interval_s, is_interpolated=True
        )
        staying = [consumer for consumer in self._consumers if not consumer.is_draining]
        observed = sum(consumer.up_s <= now_s for consumer in staying)
        workers = WorkerCounts(
            observed=observed, starting=len(staying) - observed, draining=len(self._consumers) - len(staying)
        )
        seen = snapshot(self.history, "t", workers, now_s, report_interval_s=interval_s)
        stepped = step(self._policy, {"t": seen}, ROOM, {"t": self.params}, now_s, report_interval_s=interval_s)
        self._policy, (decision,) = stepped[0], stepped[1]
        self.decisions.append(decision)
        for consumer in staying[decision.target :]:
            consumer.is_draining = True
        for _ in range(decision.target - len(staying)):
            self._consumers.append(
                Consumer(
                    free=self.params.concurrency,
                    up_s=now_s + START_S,
                    at_s=now_s,
                    next_report_s=now_s + START_S,
                    said=(0, 0, now_s, 0, 0.0, 0.0),
                    said_s=now_s,
                    before=(now_s, 0),
                )
            )
