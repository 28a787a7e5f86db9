"""Bringing what there is to what is wanted: starts, drains, kills, roll-outs, and what came of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from hermes_ray.config.settings import topic_params
from hermes_ray.core.model import Capacity, TopicParams
from hermes_ray.core.resources import Resources
from hermes_ray.core.room import Room
from hermes_ray.scaler.lifecycle import (
    EARLY_DEATH_S,
    START_DEADLINE_S,
    Limits,
    Overdue,
    Team,
    is_proven,
    overdue,
    silence_s,
    team_of,
)
from hermes_ray.scaler.plan import Plan, worker_spec
from hermes_ray.scaler.ports import CapacityView, WorkerPool
from hermes_ray.scaler.rollout import Rollout, old_to_drain_count, wanted_new_count
from hermes_ray.scaler.roster import Departure, Record, Roster
from hermes_ray.scaler.start_backoff import FIRST_BACKOFF_S, StartBackoff

__all__ = ["Fleet"]

log = logging.getLogger(__name__)

ASK_AGAIN_S = 5.0  # an order without an echo is given again
LEAVING_S = 900.0  # for the last handlers of a topic that was removed, whose settings are gone


class Fleet:
    """The workers of a deployment: who there is, and the actions that change it."""

    def __init__(self, plan: Plan, pool: WorkerPool, view: CapacityView, roster: Roster | None = None) -> None:
        config = plan.config
        self._topics = config.topics
        self._pool = pool
        self._view = view
        self._backoffs = {topic: StartBackoff() for topic in config.topics}
        self._specs = {topic: worker_spec(plan, topic) for topic in config.topics}
        self._settings = {topic: spec.queue.settings for topic, spec in self._specs.items()}
        self._reachable_since_s: dict[str, float | None] = dict.fromkeys(config.topics, None)
        self._teams: dict[str, Team] = {}
        self._lines: list[str] = []
        self.params: dict[str, TopicParams] = {
            name: topic_params(name, topic, plan.concurrency[name]) for name, topic in config.topics.items()
        }
        self.roster = Roster() if roster is None else roster
        self.report_interval_s = 1.0
        self.drained_count = 0
        self.killed_count = 0
        self.failed_starts: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()

    # Looks

    def has_living(self) -> bool:
        """Whether workers are there already, of a scaler before this one."""
        return bool(self._pool.living())

    def team(self, topic: str, now_s: float) -> Team:
        """The topic's workers by what they are good for, as of the last refresh or order."""
        if topic not in self._teams:
            self._teams[topic] = team_of(self.roster.of(topic), self._limits(topic), now_s)
        return self._teams[topic]

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
        return spec is not None and record.report.revision != spec.revision

    def trouble(self, record: Record, now_s: float) -> str | None:
        """What a person should know of this worker; None: nothing."""
        limits = self._limits(record.topic)
        if (silent_s := silence_s(record, now_s)) > limits.said_after_s:
            ends = f"replaced after {limits.replaced_after_s:.0f} s, killed after {limits.killed_after_s:.0f} s"
            return f"silent for {silent_s:.0f} s: {ends}"
        if record.not_consuming_since_s is not None and record.report is not None:
            return record.report.lost_reason or "does not consume"
        return None

    def capacity(self, now_s: float) -> Capacity | None:
        """What the cluster can hold of our workers; None when Ray does not say."""
        sizes = {name: params.worker for name, params in self.params.items()}
        return self._view.capacity(self._by_node(), self._unplaced(), sizes, now_s)

    # What happened

    def refresh(self, now_s: float, unreachable: Collection[str] = ()) -> list[str]:
        """Take note of starts that ended, of workers that came or went, and of deadlines; a line for each surprise.

        ``unreachable``: topics about which the broker does not answer now.
        """
        for topic, since_s in self._reachable_since_s.items():
            self._reachable_since_s[topic] = None if topic in unreachable else now_s if since_s is None else since_s
        living = self._pool.living()  # asked first: a start that fails in between is still there to be told why
        for result in self._pool.start_results():
            record = self.roster.get(result.worker)
            if result.error is not None and record is not None:
                self._start_failed(record, result.error, now_s)
        for departure in self.roster.sync(living, now_s):
            self._departed(departure, now_s)
        self._teams.clear()
        for topic in self.roster.topics():
            limits, backoff = self._limits(topic), self._backoffs.get(topic)
            for record in list(self.roster.of(topic)):
                if (due := overdue(record, limits, now_s)) is not None:
                    self._end_overdue(record, due, limits, now_s)
                is_old_enough = record.is_consuming and now_s - record.since_s > EARLY_DEATH_S
                if backoff is not None and backoff.failures and is_old_enough:
                    backoff.succeeded(record.since_s)
        lines, self._lines = self._lines, []
        return lines

    # What to do

    def reconcile(self, targets: Mapping[str, int], capacity: Capacity | None, now_s: float) -> list[str]:
        """Start or drain workers so that each topic has its target, as far as there is room at this moment.

        Returns a line for each order that could not be given: it costs none of the others.
        """
        self._end_left_out(now_s)
        for topic, target in targets.items():
            self._shrink(topic, target, now_s)
            self._adapt(topic, now_s)
        self._repeat_drains(now_s)
        if capacity is not None:
            room = Room(capacity, {name: params.worker for name, params in self.params.items()}, self._unplaced())
            for topic in sorted(targets, key=lambda name: (-self.params[name].weight, name)):
                self._grow(topic, targets[topic], room, now_s)
        lines, self._lines = self._lines, []
        return lines

    def wind_down(self, stop_by_s: float, kill: bool, now_s: float) -> bool:
        """One step of stopping: drain everything by ``stop_by_s``, or kill it; True while a worker is left.

        A worker that never reported may wait for a place that it never gets: it is not waited for.
        """
        for record in self.roster.all():
            asked_s = record.drain_asked_s
            if kill or (record.reported_s is None and asked_s is not None and now_s - asked_s > ASK_AGAIN_S):
                self._kill(record, now_s)
            elif record.drain_by_s is None or record.drain_by_s > stop_by_s:
                self._order_drain(record, stop_by_s, now_s)
            else:
                self._drain_again(record, now_s)
        return len(self.roster) > 0

    def _shrink(self, topic: str, target: int, now_s: float) -> None:
        staying = self.team(topic, now_s).staying
        if len(staying) <= target and not any(map(self.is_outdated, staying)):
            return
        old = [record for record in staying if self.is_outdated(record)]
        new = [record for record in staying if not self.is_outdated(record)]
        drain_by_s = now_s + self._topics[topic].worker.drain_timeout_s
        rollout = self._rollout(topic, target, old, new, now_s)
        for record in self._victims(old)[: old_to_drain_count(rollout)]:
            self._order_drain(record, drain_by_s, now_s)
        for record in self._victims(new)[: max(0, len(new) - target)]:
            self._order_drain(record, drain_by_s, now_s)

    def _grow(self, topic: str, target: int, room: Room, now_s: float) -> None:
        """Start what is missing; where a new worker does not fit beside old ones, make room by draining those."""
        team = self.team(topic, now_s)
        old = [record for record in team.staying if self.is_outdated(record)]
        new = [record for record in team.staying if not self.is_outdated(record)]
        rollout = self._rollout(topic, target, old, new, now_s)
        missing = self._startable(topic, wanted_new_count(rollout) - len(new), team.staying, now_s)
        size = self.params[topic].worker
        while missing > 0 and room.take(size):
            if not self._start(topic, now_s):
                return
            missing -= 1
        if missing <= 0 or not old:
            return
        is_one_missing = len(old) + len(new) < target or bool(team.leaving)
        if not is_one_missing and len(new) == rollout.proven_count:
            drain_by_s = now_s + self._topics[topic].worker.drain_timeout_s
            self._order_drain(self._victims(old)[0], drain_by_s, now_s)

    def _startable(self, topic: str, missing: int, staying: Sequence[Record], now_s: float) -> int:
        """How many of the ``missing`` may be started now: after a failure one shows whether the others can start."""
        backoff = self._backoffs[topic]
        if now_s < backoff.next_s:
            return 0
        if backoff.failures:
            return 0 if backoff.is_trying(record.since_s for record in staying) else min(missing, 1)
        return missing

    def _rollout(self, topic: str, target: int, old: Sequence[Record], new: Sequence[Record], now_s: float) -> Rollout:
        proven = sum(is_proven(record, now_s) for record in new) if old else len(new)
        return Rollout(
            target=target,
            old_count=len(old),
            new_count=len(new),
            proven_count=proven,
            surge_ratio=self._topics[topic].workers.roll_surge,
        )

    def _start(self, topic: str, now_s: float) -> bool:
        try:
            worker = self._pool.start(self._specs[topic], topic, self.params[topic].worker)
        except Exception as error:
            pause_s = self._backoffs[topic].failed(str(error), now_s, now_s)
            self.failed_starts[topic] += 1
            self._lines.append(f"{topic}: no worker could be asked for: {error}; next try in {pause_s:.0f} s")
            return False
        self.roster.started(worker, now_s)
        self._teams.pop(topic, None)
        return True

    def _end_left_out(self, now_s: float) -> None:
        """Drain the workers of topics that are no longer configured."""
        for topic in self.roster.topics():
            if topic in self.params:
                continue
            for record in list(self.roster.of(topic)):
                if record.reported_s is None and not record.adopted:
                    self._kill(record, now_s)  # it may wait for a place that it never gets
                elif record.drain_by_s is None:
                    self._order_drain(record, now_s + LEAVING_S, now_s)

    def _adapt(self, topic: str, now_s: float) -> None:
        wanted = self._settings[topic]
        for record in self.team(topic, now_s).staying:
            report, asked_s = record.report, record.adapt_asked_s
            if report is None or report.settings == wanted or self.is_outdated(record):
                continue
            if asked_s is None or now_s - asked_s > ASK_AGAIN_S:
                record.adapt_asked_s = now_s
                self._give(record, partial(self._pool.adapt, record.worker, self._specs[topic].queue))

    # Orders to one worker

    def _order_drain(self, record: Record, drain_by_s: float, now_s: float) -> None:
        record.drain_asked_s, record.drain_by_s = now_s, drain_by_s
        self._noted(record)
        self._give(record, lambda: self._pool.drain(record.worker, max(0.0, drain_by_s - now_s)))

    def _repeat_drains(self, now_s: float) -> None:
        for topic in self.roster.topics():
            for record in self.team(topic, now_s).leaving:
                self._drain_again(record, now_s)

    def _drain_again(self, record: Record, now_s: float) -> None:
        """Repeat a drain order that does not show in a report; its deadline stays what it was."""
        asked_s, by_s = record.drain_asked_s, record.drain_by_s
        if asked_s is None or by_s is None or now_s - asked_s <= ASK_AGAIN_S or record.phase in ("draining", "drained"):
            return
        record.drain_asked_s = now_s
        self._give(record, lambda: self._pool.drain(record.worker, max(0.0, by_s - now_s)))

    def _kill(self, record: Record, now_s: float) -> None:
        if record.kill_asked_s is not None and now_s - record.kill_asked_s <= ASK_AGAIN_S:
            return
        record.kill_asked_s = now_s
        self._noted(record)
        self._give(record, lambda: self._pool.kill(record.worker))

    def _give(self, record: Record, order: Callable[[], None]) -> None:
        try:
            order()
        except Exception as error:
            log.exception("an order to %s could not be given", record.worker)
            self._lines.append(f"{record.topic}: an order to worker {record.worker} could not be given: {error}")

    def _noted(self, record: Record) -> None:
        self.roster.note(record)
        self._teams.pop(record.topic, None)

    # What became of workers

    def _end_overdue(self, record: Record, due: Overdue, limits: Limits, now_s: float) -> None:
        if due is Overdue.NOT_CONSUMING:
            reason = (record.report and record.report.lost_reason) or "the broker lets it not consume"
            self._start_failed(record, f"it did not consume for {limits.replaced_after_s:.0f} s: {reason}", now_s)
            self._order_drain(record, now_s + LEAVING_S, now_s)
            return
        is_told = record.kill_asked_s is not None
        if due is Overdue.START_FAILED:
            self._start_failed(record, f"not up after {START_DEADLINE_S:.0f} s", now_s)
        elif not is_told and due is Overdue.SILENT:
            self._lines.append(
                f"{record.topic}: worker {record.worker} has been silent for {limits.killed_after_s:.0f} s and is "
                "killed; what it held goes back to the queue"
            )
        elif not is_told:
            self._lines.append(f"{record.topic}: worker {record.worker} did not end by its deadline and is killed")
        self._kill(record, now_s)

    def _start_failed(self, record: Record, error: str, now_s: float) -> None:
        record.failed = True
        self._noted(record)
        self.failed_starts[record.topic] += 1
        worker = f"{record.topic}: worker {record.worker}"
        if record.topic not in self._backoffs:
            self._lines.append(f"{worker} did not start: {error}")
            return
        backoff = self._backoffs[record.topic]
        if record.report is not None:
            # It consumed, then failed: the message that ended it will probably end the next one. A pause that does not
            # grow keeps the topic working and the cluster from starting processes as fast as they die.
            pause_s = backoff.failed(error, record.since_s, now_s, FIRST_BACKOFF_S)
            text = f"{worker} failed: {error}; the next starts in {pause_s:.0f} s"
        else:
            pause_s = backoff.failed(error, record.since_s, now_s)
            text = f"{worker} did not start: {error}; next try in {pause_s:.0f} s"
        old = sum(self.is_outdated(other) for other in self.roster.of(record.topic) if not other.is_draining)
        self._lines.append(f"{text}; the roll-out waits for it, {old} old ones work on" if old else text)

    def _departed(self, departure: Departure, now_s: float) -> None:
        record = departure.record
        self.killed_count += departure.killed_count
        if departure.expected:
            self.drained_count += 1
        elif record.failed:
            return
        elif not record.adopted and now_s - record.since_s < EARLY_DEATH_S:
            self._start_failed(record, f"its process died within {EARLY_DEATH_S:.0f} s", now_s)
        else:
            self.deaths[record.topic] += 1
            self._lines.append(f"{record.topic}: worker {record.worker} died; what it held goes back to the queue")

    def _victims(self, candidates: Sequence[Record]) -> list[Record]:
        """Least work to lose first; among equals the emptiest node, so that Ray can remove it; then the youngest."""
        if not candidates:
            return []
        crowd = Counter(record.node_id for record in self.roster.all())
        return sorted(
            candidates,
            key=lambda r: (
                0 if r.report is None else r.report.running_count,
                0 if r.report is None else r.report.held_count,
                crowd[r.node_id],
                -r.since_s,
            ),
        )

    def _limits(self, topic: str) -> Limits:
        chosen = self._topics.get(topic)
        return Limits(
            report_interval_s=self.report_interval_s,
            silent_timeout_s=LEAVING_S if chosen is None else chosen.worker.silent_timeout_s,
            reachable_since_s=self._reachable_since_s.get(topic),
        )

    def _unplaced(self) -> list[Resources]:
        waiting: Iterable[Record] = (r for r in self.roster.all() if r.node_id is None and not r.failed)
        return [self.params[r.topic].worker for r in waiting if r.topic in self.params]

    def _by_node(self) -> dict[str, dict[str, int]]:
        nodes: dict[str, dict[str, int]] = {}
        for record in self.roster.all():
            if (node_id := record.node_id) is not None and record.topic in self.params:
                here = nodes.setdefault(node_id, {})
                here[record.topic] = here.get(record.topic, 0) + 1
        return nodes
