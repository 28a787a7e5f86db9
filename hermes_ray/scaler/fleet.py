"""Bringing what there is to what is wanted: starts, drains, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from hermes_ray.config.settings import topic_params
from hermes_ray.core.model import Bundle, Capacity, TopicParams
from hermes_ray.core.room import Room
from hermes_ray.deploy.plan import Plan, worker_spec
from hermes_ray.scaler.ports import CapacityView, WorkerPool
from hermes_ray.scaler.roster import Departure, Record, Roster
from hermes_ray.scaler.start_backoff import FIRST_BACKOFF_S, StartBackoff

__all__ = ["Fleet"]

START_DEADLINE_S = 120.0  # to be placed and to consume; a handler that loads a model takes its time
EARLY_DEATH_S = 10.0  # a worker that died sooner has failed to start, whatever it reported
ASK_AGAIN_S = 5.0  # a drain order without an echo is given again
LEAVING_S = 900.0  # for the last handlers of a topic that was removed, whose settings are gone
HUNG_S = 30.0  # past its drain deadline a worker does not end itself any more


class Fleet:
    """The workers of a deployment: who there is, and the actions that change it."""

    def __init__(self, plan: Plan, pool: WorkerPool, view: CapacityView, roster: Roster | None = None) -> None:
        config = plan.config
        self._config = config
        self._pool = pool
        self._view = view
        self._backoffs = {topic: StartBackoff() for topic in config.topics}
        self._specs = {topic: worker_spec(plan, topic) for topic in config.topics}
        self.params: dict[str, TopicParams] = {
            name: topic_params(name, topic, plan.concurrency[name]) for name, topic in config.topics.items()
        }
        self.roster = roster or Roster()
        self.drained_count = 0
        self.killed_count = 0
        self.failed_starts: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()

    def has_living(self) -> bool:
        """Whether workers are there already, of a scaler before this one."""
        return bool(self._pool.living())

    def start_error(self, topic: str) -> str | None:
        """Why the last start of this topic failed; None once one succeeded."""
        return self._backoffs[topic].error

    def start_failure_count(self, topic: str) -> int:
        """Starts of this topic that failed in a row."""
        return self._backoffs[topic].failures

    def is_outdated(self, record: Record) -> bool:
        """Whether a worker is of other code or settings than those applied last."""
        if record.report is None:
            return record.reported_s is not None  # it reports in a way we do not understand
        spec = self._specs.get(record.topic)
        return spec is not None and record.report["revision"] != spec.revision

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
            if record.topic not in self._backoffs:
                continue
            if record.phase == "consuming" and now_s - record.since_s > EARLY_DEATH_S:
                self._backoffs[record.topic].succeeded(record.since_s)
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
            surplus = surplus_count(staying, target, self.is_outdated)
            for record in self._victims(staying)[:surplus] if surplus else ():
                self._drain(record, self._config.topics[topic].worker.drain_timeout_s, now_s)
        self._end_strangers(now_s)
        self._see_drains_through(now_s)
        self._adapt_living(now_s)
        if capacity is not None:
            room = self._room(capacity)
            self._start_missing(targets, room, now_s)
            self._roll(targets, room, now_s)

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

    def _start_missing(self, targets: Mapping[str, int], room: Room, now_s: float) -> None:
        for topic in sorted(targets, key=lambda name: (-self.params[name].weight, name)):
            staying = self._staying(topic)
            missing = targets[topic] - len(staying)
            backoff, params = self._backoffs[topic], self.params[topic]
            if now_s < backoff.next_s:
                continue
            if backoff.failures:  # one worker shows whether the others can start
                missing = 0 if backoff.is_trying(record.since_s for record in staying) else min(missing, 1)
            while missing > 0 and room.take(params.worker):
                self._start(topic, now_s)
                missing -= 1

    def _start(self, topic: str, now_s: float) -> None:
        self.roster.started(self._pool.start(self._specs[topic], topic, self.params[topic].worker), now_s)

    def _roll(self, targets: Mapping[str, int], room: Room, now_s: float) -> None:
        """Replace outdated workers one by one: a new one first, or, where it does not fit beside them, an old one last.

        Who has a new one is short of nothing; ``match`` then drains an outdated one as surplus.
        """
        for topic, target in targets.items():
            staying = self._staying(topic)
            outdated = [record for record in staying if self.is_outdated(record)]
            busy = len(staying) != target or any(r.phase != "consuming" and not self.is_outdated(r) for r in staying)
            backoff = self._backoffs[topic]
            if not outdated or busy or now_s < backoff.next_s or backoff.is_trying(r.since_s for r in staying):
                continue
            if room.take(self.params[topic].worker):
                self._start(topic, now_s)
            elif not any(record.is_draining for record in self.roster.of(topic)):
                self._drain(self._victims(outdated)[0], self._config.topics[topic].worker.drain_timeout_s, now_s)

    def _end_strangers(self, now_s: float) -> None:
        """Drain the workers of topics that are no longer configured."""
        for record in self.roster.all():
            if record.topic in self.params or record.drain_asked_s is not None:
                continue
            if record.reported_s is None and not record.adopted:
                record.drain_asked_s = now_s
                self._pool.kill(record.worker)  # it may wait for a place that it never gets
            else:
                self._drain(record, LEAVING_S, now_s)

    def _adapt_living(self, now_s: float) -> None:
        for record in self.roster.all():
            spec = self._specs.get(record.topic)
            if spec is None or record.report is None or record.is_draining or self.is_outdated(record):
                continue
            asked_s = record.adapt_asked_s
            if record.report["settings"] != spec.queue.settings and (asked_s is None or now_s - asked_s > ASK_AGAIN_S):
                record.adapt_asked_s = now_s
                self._pool.adapt(record.worker, spec.queue)

    def _room(self, capacity: Capacity) -> Room:
        return Room(capacity, {name: params.worker for name, params in self.params.items()}, self._unplaced())

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
        """Outdated ones first, then least work to lose; among equals the emptiest node, so that Ray can remove it; then
        the youngest.
        """
        crowd = Counter(record.node_id for record in self.roster.all())
        return sorted(
            staying,
            key=lambda r: (
                not self.is_outdated(r),
                r.number("running"),
                r.number("held"),
                crowd[r.node_id],
                -r.since_s,
            ),
        )

    def _start_failed(self, record: Record, error: str, now_s: float) -> str:
        record.failed = True
        self.failed_starts[record.topic] += 1
        if record.topic not in self._backoffs:
            return f"{record.topic}: worker {record.worker} did not start: {error}"
        backoff, worker = self._backoffs[record.topic], f"{record.topic}: worker {record.worker}"
        if record.report is not None:
            # It worked, so the next one will too, until the message that ended it comes again: never a hot loop.
            pause_s = backoff.failed(error, now_s, FIRST_BACKOFF_S)
            return f"{worker} ended within {EARLY_DEATH_S:.0f} s: {error}; the next starts in {pause_s:.0f} s"
        pause_s = backoff.failed(error, now_s)
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
        self.deaths[record.topic] += 1
        return [f"{record.topic}: worker {record.worker} died; what it held goes back to the queue"]

    def _staying(self, topic: str) -> list[Record]:
        return [record for record in self.roster.of(topic) if not record.is_draining and not record.failed]

    def _unplaced(self) -> list[Bundle]:
        waiting = [r for r in self.roster.all() if r.node_id is None and not r.failed]
        return [self.params[r.topic].worker for r in waiting if r.topic in self.params]

    def _by_node(self) -> dict[str, dict[str, int]]:
        nodes: dict[str, dict[str, int]] = {}
        for record in self.roster.all():
            if (node_id := record.node_id) is not None and record.topic in self.params:
                here = nodes.setdefault(node_id, {})
                here[record.topic] = here.get(record.topic, 0) + 1
        return nodes


def surplus_count(staying: Sequence[Record], target: int, is_outdated: Callable[[Record], bool]) -> int:
    """How many of ``staying`` are to drain: what is above target, but a worker that is to replace an outdated one only
    takes its place once it consumes.

    4 outdated and a new one that starts, target 4: none; once it consumes, or at a target of 3: one.
    """
    above = max(0, len(staying) - target)
    coming = sum(record.phase != "consuming" and not is_outdated(record) for record in staying)
    rolling = any(is_outdated(record) for record in staying)
    return max(0, above - coming) if rolling and target > 0 else above
