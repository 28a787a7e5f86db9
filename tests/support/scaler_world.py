"""A whole scaler but for Ray and RabbitMQ: a loop over queues and workers that a test plays second by second.

A worker handles each message in half a second, four at once, and reports at the end of each second. ``written`` is the
file that a restarted scaler finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import count

from hermes_ray.broker.depth import ProbeFailure
from hermes_ray.core.histogram import BUCKET_COUNT, bucket
from hermes_ray.core.model import Override, Probe
from hermes_ray.scaler.clock import Anchor
from hermes_ray.scaler.control_loop import ControlLoop
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.memory import Changes, Memory, decode, encode, merged, recalled
from hermes_ray.scaler.memory_writer import MemoryWriter
from hermes_ray.scaler.plan import Owner, Plan
from hermes_ray.scaler.ports import StartResult
from hermes_ray.scaler.roster import Roster
from hermes_ray.telemetry.figures import TopicFigures
from hermes_ray.worker.report import Report
from tests.support.fleet_scene import PLENTY, T0, FakePool, FakeView, config
from tests.support.plan_specs import PlanSpecs
from tests.support.reports import report

SLOTS, SERVICE_S = 4, 0.5
START_S = 1.0
COUNTS = ("probe_failures", "start_failures", "deaths", "ups", "downs")


@dataclass
class FakeProber:
    """Sees the depths that the world has; counts failures since its own start, as the real one does."""

    seen: dict[str, Probe] = field(default_factory=dict)
    failures: dict[str, ProbeFailure] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    waits: dict[str, set[int]] = field(default_factory=dict)
    retries: list[str] = field(default_factory=list)

    def probes(self) -> Mapping[str, Probe]:
        return dict(self.seen)

    def failure_count(self, topic: str) -> int:
        return self.counts[topic]

    def waits_exist(self, topic: str, rungs_ms: Iterable[int]) -> None:
        self.waits.setdefault(topic, set()).update(rungs_ms)

    def retried(self, topic: str) -> None:
        self.retries.append(topic)

    def known_waits(self) -> dict[str, tuple[int, ...]]:
        return {topic: tuple(sorted(rungs)) for topic, rungs in self.waits.items() if rungs}

    def fails(self, topic: str) -> None:
        self.counts[topic] += 1
        self.failures[topic] = ProbeFailure(count=1, text="404 no queue")


@dataclass
class FakeStore:
    """A file that takes what is written unless ``error`` is set."""

    records: list[bytes] = field(default_factory=list)
    wants_whole: bool = True
    write_count: int = 0
    error: OSError | None = None

    def write(self, changes: Changes) -> None:
        if self.error is not None:
            self.wants_whole = True
            raise self.error
        if changes.is_whole:
            self.records.clear()
        self.records.append(encode(changes))
        self.wants_whole = len(self.records) > 20
        self.write_count += 1


@dataclass
class Consumer:
    """One living worker."""

    since_s: float
    seq: int = 0
    acked: int = 0
    is_draining: bool = False
    revision: str = ""  # of the code that it was started with


class ScalerWorld:
    """Two topics, ``light`` and ``heavy``; messages come at ``rate_hz`` and by hand into ``ready``."""

    def __init__(self, *words: str) -> None:
        self.plan = Plan(config=config(*words), concurrency={"light": SLOTS, "heavy": SLOTS}, generation=1)
        self.pool, self.view, self.now_s = FakePool(names=iter(range(10**6))), FakeView(answer=PLENTY), T0
        self.consumers: dict[str, Consumer] = {}
        self.ready: Counter[str] = Counter()
        self.rate_hz: Counter[str] = Counter()
        self.handled: Counter[str] = Counter()
        self.unwell: set[str] = set()  # topics whose probes fail,
        self.broken: set[str] = set()  # and whose new workers do not start
        self.unheard: set[str] = set()  # workers whose reports are lost,
        self.hung: set[str] = set()  # and whose processes are stopped
        self.store = FakeStore()
        self.write_s = 0.0
        self._specs = PlanSpecs()
        self.scaler_starts(None)

    # What happens to the scaler

    def scaler_starts(self, memory: Memory | None, cluster_id: str = "here") -> None:
        known = recalled(memory, self.plan, cluster_id)
        counters = {topic: past.counters for topic, past in known.topics.items()}
        self.prober = FakeProber()
        self.store.wants_whole = True
        away_s = 0.0 if known.header.anchor is None else self.now_s - known.header.anchor.at_s
        self.fleet = Fleet(
            self.plan, self.pool, self.view, Roster(counters, known.workers.values(), self.now_s, away_s)
        )
        self.loop = ControlLoop(self.plan, known, self.fleet, self.prober, self._writer())
        self.loop.save(self.now_s, at_once=True)

    def memory(self) -> Memory:
        """What the file holds."""
        memory = merged(map(decode, self.store.records))
        assert memory is not None
        return memory

    def scaler_is_killed(self, away_s: int = 0) -> None:
        """By kill -9; Ray has it back ``away_s`` seconds later. What its workers reported meanwhile is lost."""
        for _ in range(away_s):
            self._world_goes_on()
        self.scaler_starts(self.memory())

    def applied(self, *words: str, owner: Owner | None = None, code: str = "") -> None:
        """The next plan; the scaler before has left its memory."""
        generation = self.plan.generation + 1
        self.loop.save(self.now_s, at_once=True, whole=True)
        made = config(*words)
        slots = dict.fromkeys(made.topics, SLOTS)
        self.plan = Plan(config=made, concurrency=slots, generation=generation, owner=owner, code=code)
        self.scaler_starts(self.memory())

    def _writer(self) -> MemoryWriter:
        ticks = count()
        return MemoryWriter(
            self.store, lambda: Anchor(at_s=self.now_s), stopwatch=lambda: self.write_s * (next(ticks) % 2)
        )

    # What happens to the world

    def fork(self) -> ScalerWorld:
        """The same once more, to see what else could have happened."""
        return deepcopy(self)

    def tick(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.loop.tick(self._world_goes_on(), self.now_s)

    def dies(self, worker: str) -> None:
        del self.consumers[worker]
        self.pool.workers.remove(worker)

    def of(self, topic: str) -> list[str]:
        return [worker for worker in self.pool.workers if worker.startswith(topic)]

    def figures(self, topic: str) -> TopicFigures:
        assert self.loop.figures is not None
        return self.loop.figures.topics[topic]

    def acked(self, topic: str) -> int:
        return self.figures(topic).counters.settlements.acked

    def counts(self) -> dict[str, float]:
        """Everything shown that must never go back, by name."""
        found: dict[str, float] = {}
        for topic in self.plan.config.topics:
            seen = self.figures(topic)
            runs, settlements = seen.counters.runs, seen.counters.settlements
            found |= {f"{topic}.{key}": getattr(seen.counts, key) for key in COUNTS}
            found |= {f"{topic}.{reason}": number for reason, number in seen.counts.decisions.items()}
            found |= {f"{topic}.{key}": getattr(settlements, key) for key in ("acked", "received")}
            found |= {f"{topic}.{key}": getattr(runs, key) for key in ("finished", "busy_s")}
            found |= {f"{topic}.service.{n}": number for n, number in enumerate(runs.service)}
        return found

    def _world_goes_on(self) -> list[tuple[Report, float]]:
        self.now_s += 1.0
        self.ready += self.rate_hz
        drained = [worker for worker, consumer in self.consumers.items() if consumer.is_draining]
        asked = {worker for worker, _ in self.pool.drained} | set(self.pool.killed)
        for worker in [name for name in self.pool.workers if name not in self.consumers]:
            if worker.partition("/")[0] in self.broken:
                self.pool.results.append(StartResult(worker=worker, error="ImportError: no module"))
                self.pool.workers.remove(worker)
        reports = [self._work(worker, worker in asked) for worker in list(self.pool.workers) if worker not in drained]
        for worker in drained:
            self.dies(worker)
        for topic in self.plan.config.topics:
            if topic in self.unwell:
                self.prober.fails(topic)
            else:
                self.prober.failures.pop(topic, None)
                self.prober.seen[topic] = Probe(at_s=self.now_s, ready_count=self.ready[topic])
        return [(said, self.now_s) for said in reports if said is not None and said.worker not in self.unheard]

    def _work(self, worker: str, is_asked_to_drain: bool) -> Report | None:
        topic = worker.partition("/")[0]
        spec = self._specs.of(self.plan, topic)
        revision = "" if spec is None else spec.revision
        consumer = self.consumers.setdefault(worker, Consumer(since_s=self.now_s, revision=revision))
        if self.now_s - consumer.since_s < START_S or worker in self.hung:
            return None
        consumer.is_draining = is_asked_to_drain
        taken = 0 if is_asked_to_drain else min(self.ready[topic], int(SLOTS / SERVICE_S))
        self.ready[topic] -= taken
        self.handled[topic] += taken
        consumer.acked += taken
        consumer.seq += 1
        service = [0] * BUCKET_COUNT
        service[bucket(SERVICE_S)] = consumer.acked
        return report(
            worker,
            consumer.seq,
            phase="drained" if is_asked_to_drain else "consuming",
            revision=consumer.revision,
            settings="" if spec is None else spec.queue.settings,
            concurrency=SLOTS,
            received=consumer.acked,
            acked=consumer.acked,
            finished=consumer.acked,
            finished_s=SERVICE_S * consumer.acked,
            busy_s=SERVICE_S * consumer.acked,
            service=tuple(service),
        )


def pause(override: Override) -> Override:
    return replace(override, paused=True)


def pin_to_3(override: Override) -> Override:
    return replace(override, pinned_count=3)
