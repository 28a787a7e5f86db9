"""Bringing what there is to what is wanted: starts, drains, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hermes_ray.broker.settlement import QueueSpec
from hermes_ray.broker.topology import TopicTopology
from hermes_ray.config import Config, topic_params
from hermes_ray.core.model import Bundle, Capacity, TopicParams
from hermes_ray.core.room import Room
from hermes_ray.core.settle import rungs_ms
from hermes_ray.runtime.pool import StartResult
from hermes_ray.runtime.roster import Departure, Record, Roster
from hermes_ray.runtime.worker import WorkerSpec

__all__ = ["CapacityView", "Crew", "WorkerPool", "topology_of", "worker_spec"]

START_DEADLINE_S = 120.0  # to be placed and to consume; a handler that loads a model takes its time
EARLY_DEATH_S = 10.0  # a worker that died sooner has failed to start, whatever it reported
FIRST_BACKOFF_S = 5.0
MAX_BACKOFF_S = 300.0
ASK_AGAIN_S = 5.0  # a drain order without an echo is given again
HUNG_S = 30.0  # past its drain deadline a worker does not end itself any more


class WorkerPool(Protocol):
    """Where workers are started and ended: ``runtime.pool.Pool``."""

    def start(self, spec: WorkerSpec, topic: str, size: Bundle) -> str:
        """Ask for one more worker; returns its name ``TOPIC/xxxxxxxx``."""

    def living(self) -> list[str]:
        """Names of the workers there are, those on their way included."""

    def start_results(self) -> list[StartResult]:
        """The starts that ended since the last call."""

    def drain(self, worker: str, timeout_s: float) -> None:
        """Ask ``worker`` to drain; asking again does no harm."""

    def kill(self, worker: str) -> None:
        """End ``worker`` at once."""


class CapacityView(Protocol):
    """What the cluster can hold of our workers: ``runtime.cluster.ClusterView``."""

    def capacity(
        self,
        ours: Mapping[str, Mapping[str, int]],
        unplaced: Iterable[Bundle],
        sizes: Mapping[str, Bundle],
        now_s: float,
    ) -> Capacity | None:
        """Capacity by node; None when unknown."""


@dataclass(slots=True)
class _Starts:
    """How starting workers of one topic goes: failures in a row, and when the next try is due."""

    failures: int = 0
    failed_s: float = 0.0
    next_s: float = 0.0
    error: str | None = None

    def failed(self, error: str, now_s: float, longest_s: float = MAX_BACKOFF_S) -> float:
        pause_s: float = min(longest_s, FIRST_BACKOFF_S * 2 ** min(self.failures, 10))
        self.failures += 1
        self.error = error
        self.failed_s = now_s
        self.next_s = now_s + pause_s
        return pause_s

    def succeeded(self, since_s: float) -> None:
        """A worker started at ``since_s`` works: that says something only if no start failed since."""
        if since_s > self.failed_s:
            self.failures, self.next_s, self.error = 0, 0.0, None


class Crew:
    """The workers of a deployment: who there is, and the actions that change it."""

    def __init__(
        self,
        config: Config,
        concurrency: Mapping[str, int],
        import_paths: Sequence[str],
        pool: WorkerPool,
        view: CapacityView,
    ) -> None:
        self._config = config
        self._pool = pool
        self._view = view
        self._starts = {topic: _Starts() for topic in config.topics}
        self._specs = {topic: worker_spec(config, topic, concurrency[topic], import_paths) for topic in config.topics}
        self.params: dict[str, TopicParams] = {
            name: topic_params(name, topic, concurrency[name]) for name, topic in config.topics.items()
        }
        self.roster = Roster(config.topics)
        self.drained_count = 0
        self.killed_count = 0

    def start_error(self, topic: str) -> str | None:
        """Why the last start of this topic failed; None once one succeeded."""
        return self._starts[topic].error

    def sync(self, now_s: float) -> list[str]:
        """Take note of starts that ended and of workers that came or went; returns a line for each surprise."""
        lines = []
        living = self._pool.living()  # asked first: a start that fails in between is still there to be told why
        for result in self._pool.start_results():
            record = self.roster.get(result.worker)
            if result.error is not None and record is not None:
                lines.append(self._start_failed(record, result.error, now_s))
        for departure in self.roster.sync(living, now_s):
            lines += self._departed(departure, now_s)
        for record in self.roster.all():
            if record.phase == "consuming" and now_s - record.since_s > EARLY_DEATH_S:
                self._starts[record.topic].succeeded(record.since_s)
            elif record.reported_s is None and not record.failed and now_s - record.since_s > START_DEADLINE_S:
                self._pool.kill(record.worker)
                lines.append(self._start_failed(record, f"not up after {START_DEADLINE_S:.0f} s", now_s))
        return lines

    def capacity(self, now_s: float) -> Capacity | None:
        """What the cluster can hold of our workers; None when Ray does not say."""
        sizes = {name: params.worker for name, params in self.params.items()}
        return self._view.capacity(self._by_node(), self._unplaced(), sizes, now_s)

    def match(self, targets: Mapping[str, int], capacity: Capacity | None, now_s: float) -> None:
        """Start or drain workers so that each topic has its target, as far as there is room at this moment."""
        for topic, target in targets.items():
            staying = self._staying(topic)
            for record in self._victims(staying)[: max(0, len(staying) - target)]:
                self._drain(record, self._config.topics[topic].worker.drain_timeout_s, now_s)
        self._see_drains_through(now_s)
        if capacity is not None:
            self._start_missing(targets, capacity, now_s)

    def wind_down(self, timeout_s: float, kill: bool, now_s: float) -> bool:
        """One step of stopping: drain everything within ``timeout_s``, or kill it; True while a worker is left.

        A worker that never reported may wait for a place that it never gets: it is not waited for.
        """
        for record in self.roster.all():
            asked_s = record.drain_asked_s
            if kill or (record.reported_s is None and asked_s is not None and now_s - asked_s > ASK_AGAIN_S):
                record.drain_asked_s = now_s
                self._pool.kill(record.worker)
            else:
                self._drain(record, timeout_s, now_s)
        return bool(self.roster.all())

    def _start_missing(self, targets: Mapping[str, int], capacity: Capacity, now_s: float) -> None:
        room = Room(capacity, {name: params.worker for name, params in self.params.items()}, self._unplaced())
        for topic in sorted(targets, key=lambda name: (-self.params[name].weight, name)):
            staying = self._staying(topic)
            missing = targets[topic] - len(staying)
            starts, params = self._starts[topic], self.params[topic]
            if now_s < starts.next_s:
                continue
            if starts.failures:  # one worker shows whether the others can start
                on_trial = any(record.since_s > starts.failed_s for record in staying)
                missing = 0 if on_trial else min(missing, 1)
            while missing > 0 and room.take(params.worker):
                worker = self._pool.start(self._specs[topic], topic, params.worker)
                self.roster.started(worker, now_s)
                missing -= 1

    def _drain(self, record: Record, timeout_s: float, now_s: float) -> None:
        asked_s = record.drain_asked_s
        if asked_s is None or (record.phase not in ("draining", "drained") and now_s - asked_s > ASK_AGAIN_S):
            record.drain_asked_s = now_s
            record.drain_by_s = now_s + timeout_s
            self._pool.drain(record.worker, timeout_s)

    def _see_drains_through(self, now_s: float) -> None:
        for record in self.roster.all():
            if record.drain_by_s is not None:
                if now_s > record.drain_by_s + HUNG_S:
                    self._pool.kill(record.worker)
                else:
                    self._drain(record, max(0.0, record.drain_by_s - now_s), now_s)

    def _victims(self, staying: Sequence[Record]) -> list[Record]:
        """Least work to lose first; among equals the emptiest node, so that Ray can remove it; then the youngest."""
        crowd = Counter(record.node_id for record in self.roster.all())
        return sorted(
            staying,
            key=lambda r: (r.number("running"), r.number("held"), crowd[r.node_id], -r.since_s),
        )

    def _start_failed(self, record: Record, error: str, now_s: float) -> str:
        record.failed = True
        starts, worker = self._starts[record.topic], f"{record.topic}: worker {record.worker}"
        if record.report is not None:
            # It worked, so the next one will too, until the message that ended it comes again: never a hot loop.
            pause_s = starts.failed(error, now_s, FIRST_BACKOFF_S)
            return f"{worker} ended within {EARLY_DEATH_S:.0f} s: {error}; the next starts in {pause_s:.0f} s"
        pause_s = starts.failed(error, now_s)
        return f"{worker} did not start: {error}; next try in {pause_s:.0f} s"

    def _departed(self, departure: Departure, now_s: float) -> list[str]:
        record = departure.record
        self.killed_count += departure.killed_count
        if departure.expected:
            self.drained_count += 1
            return []
        if record.failed:
            return []
        if not record.adopted and now_s - record.since_s < EARLY_DEATH_S:
            return [self._start_failed(record, "its process died", now_s)]
        return [f"{record.topic}: worker {record.worker} died; what it held goes back to the queue"]

    def _staying(self, topic: str) -> list[Record]:
        return [record for record in self.roster.of(topic) if not record.is_draining and not record.failed]

    def _unplaced(self) -> list[Bundle]:
        return [self.params[r.topic].worker for r in self.roster.all() if r.node_id is None and not r.failed]

    def _by_node(self) -> dict[str, dict[str, int]]:
        nodes: dict[str, dict[str, int]] = {}
        for record in self.roster.all():
            if (node_id := record.node_id) is not None:
                here = nodes.setdefault(node_id, {})
                here[record.topic] = here.get(record.topic, 0) + 1
        return nodes


def topology_of(config: Config, topic: str) -> TopicTopology:
    """The queues of a topic, as configured."""
    chosen = config.topics[topic]
    return TopicTopology(
        topic=topic,
        queue=chosen.queue or topic,
        queue_type=chosen.queue_type,
        declare=chosen.topology == "declare",
        rungs_ms=rungs_ms(chosen.retry.base_delay_s, chosen.retry.max_delay_s, chosen.retry.max_attempts),
    )


def worker_spec(config: Config, topic: str, concurrency: int, import_paths: Sequence[str]) -> WorkerSpec:
    """What every worker of a topic is built from; its name comes with its start."""
    chosen, queues = config.topics[topic], topology_of(config, topic)
    return WorkerSpec(
        cluster=config.cluster.name,
        worker=topic,
        urls=config.broker.urls,
        queue=QueueSpec(
            topic=topic,
            queue=queues.queue,
            queue_type=queues.queue_type,
            declare=queues.declare,
            max_attempts=chosen.retry.max_attempts,
            rungs_ms=queues.rungs_ms,
            routes={name: other.queue or name for name, other in config.topics.items()},
        ),
        handler=chosen.handler,
        options=chosen.options,
        import_paths=tuple(import_paths),
        concurrency=concurrency,
        prefetch=chosen.worker.prefetch,
        drain_timeout_s=chosen.worker.drain_timeout_s,
    )
