"""The fleet: who works, what became of those who were asked to start or to end, and bringing all to what is wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from hermes_ray.core.model import Capacity, TopicParams
from hermes_ray.core.resources import Resources
from hermes_ray.core.share import Former
from hermes_ray.scaler.lifecycle import (
    START_DEADLINE_S,
    Limits,
    Overdue,
    Team,
    is_given_up,
    is_proven,
    is_silent,
    overdue,
    silence_s,
)
from hermes_ray.scaler.plan import Plan
from hermes_ray.scaler.ports import CapacityView, WorkerPool
from hermes_ray.scaler.reconcile import Reconciler
from hermes_ray.scaler.record import Record
from hermes_ray.scaler.rollout import CANARY_COUNT
from hermes_ray.scaler.roster import Departure, Roster
from hermes_ray.scaler.start_backoff import EARLY_DEATH_S, FIRST_BACKOFF_S
from hermes_ray.scaler.workforce import ASK_AGAIN_S, Doubt, Workforce

__all__ = ["PLACED_WITHIN_S", "Fleet"]

PLACED_WITHIN_S = 30.0  # Ray sets the room of a worker aside before it has a process for it, and many come one by one


class Fleet:
    """The workers of a deployment: who there is, and the actions that change it."""

    def __init__(self, plan: Plan, pool: WorkerPool, view: CapacityView, roster: Roster | None = None) -> None:
        self._view = view
        self._force = Workforce(plan, pool, Roster() if roster is None else roster)
        self._reconciler = Reconciler(self._force)
        self.reconcile = self._reconciler.reconcile
        self.startable = self._force.startable
        self.roster = self._force.roster
        self.params: Mapping[str, TopicParams] = self._force.params
        self.failed_starts = self._force.failed_starts
        self.drained_count = 0
        self.killed_count = 0
        self.deaths: Counter[str] = Counter()
        self._given_up: set[str] = set()

    @property
    def report_interval_s(self) -> float:
        """How often workers report."""
        return self._force.report_interval_s

    @report_interval_s.setter
    def report_interval_s(self, interval_s: float) -> None:
        self._force.report_interval_s = interval_s

    # Looks

    def has_living(self) -> bool:
        """Whether workers are there already, of a scaler before this one."""
        return bool(self._force.pool.living())

    def team(self, topic: str, now_s: float) -> Team:
        """The topic's workers by what they are good for, as of the last refresh or order."""
        return self._force.team(topic, now_s)

    def start_error(self, topic: str) -> str | None:
        """Why the last start of this topic failed, or its new code is in doubt; None once one succeeded."""
        doubt = self._force.doubts.get(topic)
        return self._force.backoffs[topic].error or (None if doubt is None else doubt.error)

    def start_failure_count(self, topic: str) -> int:
        """Starts of this topic that failed in a row; 1 at least while its new code is in doubt."""
        return max(self._force.backoffs[topic].failures, int(topic in self._force.doubts))

    def lack(self, topic: str) -> str | None:
        """What keeps this topic from what it was granted; None: nothing does, or nothing but time."""
        return self._reconciler.lacks.get(topic)

    def is_outdated(self, record: Record) -> bool:
        """Whether a worker is of other code or settings than those applied last."""
        return self._force.is_outdated(record)

    def trouble(self, record: Record, now_s: float) -> str | None:
        """What a person should know of this worker; None: nothing."""
        limits = self._force.limits(record.topic)
        if (silent_s := silence_s(record, now_s)) > limits.said_after_s:
            ends = f"replaced after {limits.replaced_after_s:.0f} s, killed after {limits.killed_after_s:.0f} s"
            return f"silent for {silent_s:.0f} s: {ends}"
        if record.not_consuming_since_s is not None and record.report is not None:
            return record.report.lost_reason or "does not consume"
        if record.report is not None and record.report.lost_reason:
            return record.report.lost_reason
        if record.report is not None and record.report.hung_count:
            message = "a message without an id" if record.report.hung_id is None else f"message {record.report.hung_id}"
            return f"a handler has been at {message} for {record.report.hung_s:.0f} s, and does not return"
        if record.report is not None and record.report.unmovable_count:
            return f"holds {record.report.unmovable_count} that can be moved nowhere: {record.report.unmovable_reason}"
        return None

    def capacity(self, now_s: float) -> Capacity | None:
        """What the cluster can hold of our workers; None when Ray does not say.

        A worker that was given up holds its room for nobody, as if it were somebody else's.
        """
        sizes = [params.worker for params in self.params.values()]
        waiting = {
            worker
            for worker in self._force.pool.waiting()
            if (record := self.roster.get(worker)) is not None and now_s - record.since_s > PLACED_WITHIN_S
        }
        holding = [
            record
            for record in self.roster.all()
            if record.topic in self.params
            and not record.holds_nothing
            and record.worker not in waiting
            and (record.silent_since_s is None or not is_given_up(record, self._force.limits(record.topic), now_s))
        ]
        return self._view.capacity(self._by_node(holding), self._unplaced(holding), sizes, now_s)

    def former(self, now_s: float) -> Former:
        """The workers that were started with what their topic took before an apply."""
        force, found = self._force, {}
        for topic in self.params:
            if former := force.former(topic, now_s):
                found[topic] = [(force.size(records[0]), len(records)) for records in former.values()]
        return found

    # What happened

    def was_away(self, away_s: float, now_s: float) -> None:
        """This process stood still for so long, and what its workers said with it."""
        self.roster.was_away(away_s, now_s, self.report_interval_s)
        for backoff in self._force.backoffs.values():
            backoff.was_away(away_s, now_s)

    def refresh(self, now_s: float, unreachable: Collection[str] = (), refused: Collection[str] = ()) -> list[str]:
        """Take note of starts that ended, of workers that came or went, and of deadlines; a line for each surprise.

        ``unreachable``: topics about which the broker does not answer now; it refuses to of the ``refused`` among them.
        """
        self._force.refused = frozenset(refused)
        for topic, since_s in self._force.reachable_since_s.items():
            self._force.reachable_since_s[topic] = (
                None if topic in unreachable else now_s if since_s is None else since_s
            )
        living = self._force.pool.living()  # asked first: a start that fails in between is still there to be told why
        for result in self._force.pool.start_results():
            record = self.roster.get(result.worker)
            if result.error is not None and record is not None:
                self._start_failed(record, result.error, now_s)
        for departure in self.roster.sync(living, now_s):
            self._departed(departure, now_s)
        self._force.look_anew()
        for topic in self.roster.topics():
            limits = self._force.limits(topic)
            for record in list(self.roster.of(topic)):
                self._look_at(record, limits, now_s)
        for topic in [topic for topic in self._force.doubts if not self._old_count(topic)]:
            del self._force.doubts[topic]
        for topic, backoff in self._force.backoffs.items():
            if not backoff.failures or not self._old_count(topic):  # a roll-out that stands still waits for a place
                starts_s = (record.since_s for record in self.roster.of(topic))
                backoff.forget_untried(starts_s, now_s, is_wanted=topic in self._reconciler.missing)
        return self._force.take_lines()

    # What to do

    def wind_down(self, stop_by_s: float, kill: bool, now_s: float) -> bool:
        """One step of stopping: drain everything by ``stop_by_s``, or kill it; True while a worker is left.

        A worker that never reported may wait for a place that it never gets: it is not waited for.
        """
        for record in self.roster.all():
            asked_s = record.drain_asked_s
            if kill or (record.reported_s is None and asked_s is not None and now_s - asked_s > ASK_AGAIN_S):
                self._force.kill(record, now_s)
            elif record.drain_by_s is None or record.drain_by_s > stop_by_s:
                self._force.drain(record, stop_by_s, now_s)
            else:
                self._force.drain_again(record, now_s)
        return len(self.roster) > 0

    # What became of workers

    def _look_at(self, record: Record, limits: Limits, now_s: float) -> None:
        if record.silent_since_s is None and is_silent(record, limits, now_s):
            record.silent_since_s = record.heard_s
            self._force.noted(record)
        if record.is_draining and record.drain_by_s is None:  # somebody told it whose word was lost
            self._force.drain(record, now_s + self._force.drain_timeout_s(record.topic), now_s)
        if (due := overdue(record, limits, now_s)) is not None:
            self._end_overdue(record, due, limits, now_s)
        backoff, doubt = self._force.backoffs.get(record.topic), self._force.doubts.get(record.topic)
        if backoff is not None and backoff.failures and record.is_consuming and now_s - record.since_s > EARLY_DEATH_S:
            backoff.succeeded(record.since_s)
        if doubt is not None and self._is_proof(record, doubt):
            del self._force.doubts[record.topic]
        if record.worker not in self._given_up and is_given_up(record, limits, now_s):
            self._given_up.add(record.worker)
            self._doubt(record, "said nothing any more", record.heard_s - record.since_s, now_s)

    def _end_overdue(self, record: Record, due: Overdue, limits: Limits, now_s: float) -> None:
        if due is Overdue.NOT_CONSUMING:
            reason = (record.report and record.report.lost_reason) or "the broker lets it not consume"
            self._start_failed(record, f"it did not consume for {limits.replaced_after_s:.0f} s: {reason}", now_s)
            self._force.drain(record, now_s + self._force.drain_timeout_s(record.topic), now_s)
            return
        is_told = record.kill_asked_s is not None
        if due is Overdue.START_FAILED:
            self._start_failed(record, f"not up after {START_DEADLINE_S:.0f} s", now_s)
        elif not is_told and due is Overdue.SILENT:
            self._force.lines.append(
                f"{record.topic}: worker {record.worker} has been silent for {limits.killed_after_s:.0f} s and is "
                "killed; what it held goes back to the queue"
            )
        elif not is_told and due is Overdue.HUNG:
            self._force.lines.append(
                f"{record.topic}: worker {record.worker} did not end by its deadline and is killed"
            )
        self._force.kill(record, now_s)

    def _start_failed(self, record: Record, error: str, now_s: float) -> None:
        record.failed = True
        self._force.noted(record)
        self.failed_starts[record.topic] += 1
        worker = f"{record.topic}: worker {record.worker}"
        if record.topic not in self._force.backoffs:
            self._force.lines.append(f"{worker} did not start: {error}")
            return
        backoff, old = self._force.backoffs[record.topic], self._old_count(record.topic)
        if record.report is not None:
            # It consumed, then failed: the message that ended it will probably end the next one. A pause that does not
            # grow keeps the topic working and the cluster from starting processes as fast as they die.
            pause_s = backoff.failed(error, record.since_s, now_s, FIRST_BACKOFF_S)
            text = f"{worker} failed: {error}; the next starts in {pause_s:.0f} s"
        else:
            pause_s = backoff.failed(error, record.since_s, now_s)
            text = f"{worker} did not start: {error}; next try in {pause_s:.0f} s"
        self._force.lines.append(f"{text}; the roll-out waits for it, {old} old ones work on" if old else text)

    def _old_count(self, topic: str) -> int:
        """The workers that a roll-out is yet to replace."""
        return sum(self.is_outdated(record) for record in self.roster.of(topic) if not record.is_draining)

    def _departed(self, departure: Departure, now_s: float) -> None:
        record = departure.record
        self._given_up.discard(record.worker)
        self.killed_count += departure.killed_count
        if departure.expected:
            self.drained_count += 1
        elif record.failed:
            return
        elif not record.adopted and now_s - record.since_s < EARLY_DEATH_S:
            self._start_failed(record, f"its process died within {EARLY_DEATH_S:.0f} s", now_s)
        else:
            self.deaths[record.topic] += 1
            self._force.lines.append(
                f"{record.topic}: worker {record.worker} died; what it held goes back to the queue"
            )
            self._doubt(record, "died", now_s - record.since_s, now_s)

    def _is_proof(self, record: Record, doubt: Doubt) -> bool:
        """Whether a worker of the new code was heard to work for so long that the code is good after all."""
        is_old = record.heard_s - record.since_s > doubt.proof_s
        return is_old and record.is_consuming and not self.is_outdated(record)

    def _doubt(self, record: Record, what: str, after_s: float, now_s: float) -> None:
        """One of new code failed after it had worked, before the old ones are replaced: no more of those go until one
        works for twice as long. It says nothing about the code where others that are as old work on.
        """
        topic = record.topic
        if record.adopted or self.is_outdated(record) or not (old := self._old_count(topic)):
            return
        limits = self._force.limits(topic)
        peers = [r for r in self.roster.of(topic) if r.since_s <= record.since_s and r is not record]
        if sum(is_proven(r, limits, now_s) and not self.is_outdated(r) for r in peers) >= CANARY_COUNT:
            return
        error = f"worker {record.worker} of the new code {what} {after_s:.0f} s after its start"
        if topic not in self._force.doubts:
            self._force.lines.append(f"{topic}: {error}; the roll-out waits for one that works, {old} old ones work on")
        self._force.doubts[topic] = Doubt(error, max(EARLY_DEATH_S, 2 * after_s))

    def _unplaced(self, holding: Iterable[Record]) -> list[Resources]:
        return [self._force.size(record) for record in holding if record.place_id is None]

    def _by_node(self, holding: Iterable[Record]) -> dict[str, dict[str, float]]:
        nodes: dict[str, dict[str, float]] = {}
        for record in holding:
            if (node_id := record.place_id) is not None:
                here = nodes.setdefault(node_id, {})
                for name, amount in self._force.size(record).items():
                    here[name] = here.get(name, 0.0) + amount
        return nodes
