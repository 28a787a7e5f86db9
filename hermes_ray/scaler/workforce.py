"""The workers of a deployment and the orders they are given; each order is noted, so that the next look knows of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from hermes_ray.config.policy_params import topic_params
from hermes_ray.core.model import TopicParams
from hermes_ray.core.resources import Resources, Size, size_of
from hermes_ray.scaler.lifecycle import Limits, Team, silence_s, team_of
from hermes_ray.scaler.plan import Plan, worker_spec
from hermes_ray.scaler.ports import WorkerPool
from hermes_ray.scaler.record import Record
from hermes_ray.scaler.roster import Roster
from hermes_ray.scaler.start_backoff import StartBackoff

__all__ = ["ASK_AGAIN_S", "LEAVING_S", "Doubt", "Workforce"]

log = logging.getLogger(__name__)

ASK_AGAIN_S = 5.0  # an order without an echo is given again
LEAVING_S = 900.0  # to drain, or to be silent, for workers of a topic that was removed


class Doubt(NamedTuple):
    """Why new code that starts is not believed in, and for how long one of it has to work to show that it is good."""

    error: str
    proof_s: float


class Workforce:
    """Who there is and what each topic's workers are made of; an order that cannot be given is a line of ``lines``."""

    def __init__(self, plan: Plan, pool: WorkerPool, roster: Roster) -> None:
        config = plan.config
        self.topics = config.topics
        self.pool = pool
        self.roster = roster
        self.backoffs = {topic: StartBackoff() for topic in config.topics}
        self.specs = {topic: worker_spec(plan, topic) for topic in config.topics}
        self.params: dict[str, TopicParams] = {
            name: replace(topic_params(name, topic, plan.concurrency[name]), single_active=name in plan.single_active)
            for name, topic in config.topics.items()
        }
        self.reachable_since_s: dict[str, float | None] = dict.fromkeys(config.topics, None)
        self.refused: Collection[str] = ()
        self.doubts: dict[str, Doubt] = {}
        self.report_interval_s = 1.0
        self.failed_starts: Counter[str] = Counter()
        self.lines: list[str] = []
        self._settings = {topic: spec.queue.settings for topic, spec in self.specs.items()}
        self._teams: dict[str, Team] = {}

    # Looks

    def team(self, topic: str, now_s: float) -> Team:
        """The topic's workers by what they are good for, as of the last refresh or order."""
        if topic not in self._teams:
            self._teams[topic] = team_of(self.roster.of(topic), self.limits(topic), now_s)
        return self._teams[topic]

    def is_outdated(self, record: Record) -> bool:
        """Whether a worker is of other code or settings than those applied last."""
        spec, report = self.specs.get(record.topic), record.report
        if report is None and record.reported_s is not None:
            return True  # it reports in a way we do not understand
        if spec is None or (report is None and not record.revision):
            return False
        return spec.revision != (record.revision if report is None else report.revision)

    def size(self, record: Record) -> Resources:
        """What a worker of a configured topic was started with; an apply may have changed it since."""
        return self.params[record.topic].worker if record.size is None else record.size

    def former(self, topic: str, now_s: float) -> dict[Size, list[Record]]:
        """Those that stay and take what they took before an apply, by that size."""
        wanted, former = self.params[topic].worker, dict[Size, list[Record]]()
        for record in self.team(topic, now_s).staying:
            if record.size is not None and record.size != wanted and (size := size_of(record.size)) != size_of(wanted):
                former.setdefault(size, []).append(record)
        return former

    def startable(self, now_s: float) -> dict[str, int]:
        """Of the topics whose starts fail, the workers from before the last failure, and one that tries.

        Never fewer than have reported: those work.
        """
        found = {}
        for topic, backoff in self.backoffs.items():
            if backoff.failures:
                staying = self.team(topic, now_s).staying
                from_before = sum(record.since_s <= backoff.failed_s for record in staying)
                found[topic] = max(1 + from_before, sum(record.reported_s is not None for record in staying))
        return found

    def drain_timeout_s(self, topic: str) -> float:
        """How long its last handlers have; of a topic that was removed the settings are gone."""
        chosen = self.topics.get(topic)
        return LEAVING_S if chosen is None else chosen.worker.drain_timeout_s

    def limits(self, topic: str) -> Limits:
        """The deadlines of a topic's workers."""
        chosen = self.topics.get(topic)
        return Limits(
            report_interval_s=self.report_interval_s,
            silent_timeout_s=LEAVING_S if chosen is None else chosen.worker.silent_timeout_s,
            reachable_since_s=self.reachable_since_s.get(topic),
            is_refused=topic in self.refused,
        )

    def look_anew(self) -> None:
        """Reports came, or time has passed: the teams may differ."""
        self._teams.clear()

    def take_lines(self) -> list[str]:
        """What was said since the last call."""
        lines, self.lines = self.lines, []
        return lines

    # Orders

    def start(self, topic: str, node_id: str | None, now_s: float) -> bool:
        """Ask for one more worker on this node, anywhere for None; False if it could not be asked for."""
        try:
            worker = self.pool.start(self.specs[topic], topic, self.params[topic].worker, node_id)
        except Exception as error:
            pause_s = self.backoffs[topic].failed(str(error), now_s, now_s)
            self.failed_starts[topic] += 1
            self.lines.append(f"{topic}: no worker could be asked for: {error}; next try in {pause_s:.0f} s")
            return False
        self.roster.started(worker, now_s, node_id, self.params[topic].worker, self.specs[topic].revision)
        self._teams.pop(topic, None)
        return True

    def adapt(self, topic: str, now_s: float) -> None:
        """Tell living workers of changed retry settings."""
        wanted = self._settings[topic]
        for record in self.team(topic, now_s).staying:
            report, asked_s = record.report, record.adapt_asked_s
            if report is None or report.settings == wanted or self.is_outdated(record):
                continue
            if asked_s is None or now_s - asked_s > ASK_AGAIN_S:
                record.adapt_asked_s = now_s
                self._give(record, partial(self.pool.adapt, record.worker, self.specs[topic].queue))

    def drain(self, record: Record, drain_by_s: float, now_s: float) -> None:
        """Ask a worker to end by then."""
        record.drain_asked_s, record.drain_by_s = now_s, drain_by_s
        self.noted(record)
        self._give(record, lambda: self.pool.drain(record.worker, max(0.0, drain_by_s - now_s)))

    def drain_again(self, record: Record, now_s: float) -> None:
        """Repeat a drain order that does not show in a report; its deadline stays what it was."""
        asked_s, by_s = record.drain_asked_s, record.drain_by_s
        if asked_s is None or by_s is None or now_s - asked_s <= ASK_AGAIN_S or record.phase in ("draining", "drained"):
            return
        record.drain_asked_s = now_s
        self._give(record, lambda: self.pool.drain(record.worker, max(0.0, by_s - now_s)))

    def kill(self, record: Record, now_s: float) -> None:
        """End a worker at once, and see to it that the process of a silent one ends."""
        if record.kill_asked_s is not None and now_s - record.kill_asked_s <= ASK_AGAIN_S:
            return
        record.kill_asked_s = now_s
        self.noted(record)
        self._give(record, lambda: self.pool.kill(record.worker))
        report, node_id = record.report, record.node_id
        is_silent = silence_s(record, now_s) > self.limits(record.topic).said_after_s
        if is_silent and report is not None and node_id is not None:
            self._give(record, lambda: self.pool.end_process(record.worker, node_id, report.pid))

    def _give(self, record: Record, order: Callable[[], None]) -> None:
        try:
            order()
        except Exception as error:
            log.exception("an order to %s could not be given", record.worker)
            self.lines.append(f"{record.topic}: an order to worker {record.worker} could not be given: {error}")

    def noted(self, record: Record) -> None:
        """What was asked of a worker, or found out about it, is to be remembered."""
        self.roster.note(record)
        self._teams.pop(record.topic, None)
