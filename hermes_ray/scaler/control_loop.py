"""Collect, evaluate, execute: what a scaler does each second, without threads or Ray of its own.

Level-triggered: each tick compares what there is with what is wanted, so that a lost call heals itself. What it knows
is kept in a ``Memory`` that is written each tick; what is shown to the outside is the last look that was written, so
that no count ever goes back.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from hermes_ray.broker.depth import DepthProber
from hermes_ray.core.conditions import conditions
from hermes_ray.core.effect import Effect, judge
from hermes_ray.core.estimate import observe, snapshot, thinned
from hermes_ray.core.model import Decision, Override, Probe, Reason, Snapshot
from hermes_ray.core.policy import PolicyState, step
from hermes_ray.deploy.plan import Owner, Plan
from hermes_ray.scaler.codec import to_plain
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.memory import Memory, TopicMemory, without_overrides
from hermes_ray.scaler.status_rows import decision_row, topic_row
from hermes_ray.telemetry.figures import Figures, TopicFigures

__all__ = ["ControlLoop"]

log = logging.getLogger(__name__)

KEPT_LINES = 1_000
KEPT_PROBES = 8
KEPT_DECISIONS = 30
KILL_GRACE_S = 2.0  # for a worker to end itself at its deadline
SAVE_SHARE = 10  # a memory that takes long to write is written less often

Tree = Mapping[str, Any]


class ControlLoop:
    """Keeps every topic of ``plan`` at its size, going on from ``memory``; ``write`` puts a memory on disk.

    All of it belongs to one thread, but for ``lines``, ``cut`` and ``topics``, which are replaced, not changed.
    """

    def __init__(
        self, plan: Plan, memory: Memory, fleet: Fleet, prober: DepthProber, write: Callable[[Tree], None]
    ) -> None:
        self._plan = plan
        self._memory = memory
        self._fleet = fleet
        self._prober = prober
        self._write = write
        self._topics = {topic: memory.topics.get(topic, TopicMemory()) for topic in plan.config.topics}
        self._left_out = {topic: past for topic, past in memory.topics.items() if topic not in self._topics}
        self._base = memory.topics
        self._policy = memory.policy
        self._probes: dict[str, deque[Probe]] = {topic: deque(maxlen=KEPT_PROBES) for topic in plan.config.topics}
        self._retried: dict[str, int] = {}
        self._targets: dict[str, int] = {}
        self._decisions: dict[str, Decision] = {}
        self._placeless: set[str] = set()
        self._is_capacity_known = False
        self._killed_before = fleet.killed_count
        self._kill_now = False
        self._next_save_s = 0.0
        self.owner = memory.owner
        self.stop_by_s = memory.stop_by_s
        self.result: dict[str, int] | None = None
        self.write_error: str | None = None
        self.lines: deque[tuple[int, str]] = deque(maxlen=KEPT_LINES)
        self.line_count = 0
        self.tick_s = 0.0
        self.figures: Figures | None = None
        self.topics: dict[str, dict[str, Any]] = {}

    # Orders

    def stop(self, kill: bool, now_s: float) -> float:
        """Wind down within ``drain_timeout_s``, or at once; returns the seconds running handlers still have."""
        if self.stop_by_s is None:
            self._killed_before = self._fleet.killed_count
            self.stop_by_s = now_s + self._plan.config.drain_timeout_s
        self._kill_now = self._kill_now or kill
        return max(0.0, self.stop_by_s - now_s)

    def own(self, owner: Owner) -> None:
        """Another command speaks for the deployment from now on."""
        self.owner = owner

    def override(self, topic: str, change: Callable[[Override], Override]) -> Override:
        """Change what a person has said about ``topic``."""
        memory = self._topics[topic]
        self._topics[topic] = replace(memory, override=change(memory.override))
        return self._topics[topic].override

    # Looks

    def decision(self, topic: str) -> Decision | None:
        """What was decided for ``topic`` last, changed or not."""
        return self._decisions.get(topic)

    def stopped(self) -> list[str]:
        """The topics that are left out until the next apply."""
        return [topic for topic, memory in self._topics.items() if memory.override.stopped]

    def recent_decisions(self, topic: str) -> tuple[Tree, ...]:
        """The last decisions that changed something for ``topic``, oldest first."""
        return self._topics[topic].recent_decisions

    def say(self, line: str) -> None:
        """A line for the log and whoever follows."""
        log.info("%s", line)
        self.line_count += 1
        self.lines.append((self.line_count, line))

    # Ticks

    def tick(self, reports: Iterable[tuple[Tree, float]], now_s: float) -> None:
        """One round: collect, evaluate, execute, write down."""
        self._collect(reports, now_s)
        if self.stop_by_s is not None:
            self._wind_down(now_s, self.stop_by_s)
        else:
            self._decide(now_s)
        self.save(now_s, at_once=self.result is not None)

    def save(self, now_s: float, *, at_once: bool = False) -> None:
        """Write the memory down, then show what was written; or, where it cannot be, what would have been."""
        if not at_once and now_s < self._next_save_s:
            return
        memory = self._remembered(now_s)
        try:
            self._write(to_plain(memory))
            self.write_error = None
        except OSError as error:
            was, self.write_error = self.write_error, f"the checkpoint cannot be written: {error}"
            if was is None:
                self.say(f"{self.write_error}; a restarted scaler would learn anew")
        self._show(memory, now_s)

    def saved_in(self, took_s: float, now_s: float) -> None:
        """How long the last write took: the next one keeps its share of the time small."""
        self._next_save_s = now_s + SAVE_SHARE * took_s

    def _collect(self, reports: Iterable[tuple[Tree, float]], now_s: float) -> None:
        roster = self._fleet.roster
        for report, at_s in reports:
            roster.take(report, at_s)
        for line in self._fleet.sync(now_s):
            self.say(line)
        for topic, memory in self._topics.items():
            if roster.is_complete(topic, now_s):
                self._topics[topic] = self._with_what_is_seen(topic, memory, now_s)

    def _with_what_is_seen(self, topic: str, memory: TopicMemory, now_s: float) -> TopicMemory:
        roster, probe, recent = self._fleet.roster, self._prober.probes().get(topic), self._probes[topic]
        if probe is not None and (not recent or probe.at_s > recent[-1].at_s):
            recent.append(probe)
        retried = roster.counters(topic).retried
        if retried > self._retried.get(topic, 0):
            self._retried[topic] = retried
            self._prober.retried(topic)
        reports = [record.report for record in roster.of(topic) if record.report is not None]
        self._prober.waits_exist(topic, {rung for report in reports for rung in report.get("wait_rungs_ms", ())})
        arrived = roster.arrived(topic, recent, now_s)
        return replace(memory, history=observe(memory.history, probe, roster.totals(topic), now_s, arrived))

    def _snapshots(self, now_s: float) -> dict[str, Snapshot]:
        roster = self._fleet.roster
        return {
            topic: snapshot(memory.history, topic, roster.counts(topic), now_s, roster.slot_count(topic))
            for topic, memory in self._topics.items()
        }

    def _decide(self, now_s: float) -> None:
        capacity = self._fleet.capacity(now_s)
        self._is_capacity_known = capacity is not None
        overrides = {topic: memory.override for topic, memory in self._topics.items()}
        seen = self._snapshots(now_s)
        self._policy, decisions = step(self._policy, seen, capacity, self._fleet.params, now_s, overrides)
        placeless = {d.topic for d in decisions if d.target == 0 and d.reason is Reason.CAPACITY}
        for decision in decisions:
            self._note(decision, now_s)
            # That a first worker fits nowhere is news too, although it changes no target.
            if decision.target != decision.before or decision.topic in placeless - self._placeless:
                self.say(f"{decision.topic}: {decision.text}")
        self._placeless = placeless
        self._decisions = {decision.topic: decision for decision in decisions}
        self._targets = {decision.topic: decision.target for decision in decisions}
        self._fleet.match(self._targets, capacity, now_s)

    def _note(self, decision: Decision, now_s: float) -> None:
        memory = self._topics[decision.topic]
        memory = replace(memory, effect=self._judged(memory.effect, decision, now_s))
        if decision.target != decision.before:
            reason, grew = str(decision.reason), decision.target > decision.before
            memory = replace(
                memory,
                decisions={**memory.decisions, reason: memory.decisions.get(reason, 0) + 1},
                ups=memory.ups + grew,
                downs=memory.downs + (not grew),
                recent_decisions=(*memory.recent_decisions, decision_row(decision))[-KEPT_DECISIONS:],
            )
        self._topics[decision.topic] = memory

    def _judged(self, effect: Effect, decision: Decision, now_s: float) -> Effect:
        concurrency = self._fleet.params[decision.topic].concurrency
        return judge(effect, decision, decision.snapshot, now_s, concurrency=concurrency)

    def _wind_down(self, now_s: float, stop_by_s: float) -> None:
        self._targets = dict.fromkeys(self._targets, 0)
        kill = self._kill_now or now_s > stop_by_s + KILL_GRACE_S
        if not self._fleet.wind_down(max(0.0, stop_by_s - now_s), kill, now_s):
            killed = self._fleet.killed_count - self._killed_before
            self.result = {"drained": self._fleet.drained_count, "killed": killed}
            # The order stays: this process lives on for a moment, and restarted in it would begin anew.
            self._policy = PolicyState()
            self._topics = without_overrides(self._topics)

    def _remembered(self, now_s: float) -> Memory:
        fleet = self._fleet
        topics = {
            topic: replace(
                memory,
                history=thinned(memory.history),
                retired=fleet.roster.departed_counters(topic),
                probe_failures=self._before(topic).probe_failures + self._prober.failure_count(topic),
                start_failures=self._before(topic).start_failures + fleet.failed_starts[topic],
                deaths=self._before(topic).deaths + fleet.deaths[topic],
            )
            for topic, memory in self._topics.items()
        }
        left_out = {
            topic: replace(memory, retired=fleet.roster.departed_counters(topic))
            for topic, memory in self._left_out.items()
        }
        return replace(
            self._memory,
            saved_s=now_s,
            owner=self.owner,
            stop_by_s=self.stop_by_s,
            policy=self._policy,
            topics={**left_out, **topics},
            workers=tuple(fleet.roster.remembered()),
        )

    def _before(self, topic: str) -> TopicMemory:
        return self._base.get(topic, TopicMemory())

    def _show(self, memory: Memory, now_s: float) -> None:
        all_figures = {
            topic: self._topic_figures(topic, memory.topics[topic], s) for topic, s in self._snapshots(now_s).items()
        }
        self.topics = {
            topic: topic_row(figures, memory.topics[topic], self._fleet, self._prober.failures.get(topic))
            for topic, figures in all_figures.items()
        }
        self.figures = Figures(at_s=now_s, tick_s=self.tick_s, topics=all_figures)

    def _topic_figures(self, topic: str, memory: TopicMemory, seen: Snapshot) -> TopicFigures:
        fleet, failure, winner = self._fleet, self._prober.failures.get(topic), memory.override.winner(seen.at_s)
        return TopicFigures(
            topic=topic,
            queue=self._plan.config.topics[topic].queue or topic,
            snapshot=seen,
            target=self._targets.get(topic),
            slot_count=fleet.roster.slot_count(topic),
            counters=fleet.roster.counters(topic),
            probe_failures=memory.probe_failures,
            start_failures=memory.start_failures,
            deaths=memory.deaths,
            decisions=memory.decisions,
            ups=memory.ups,
            downs=memory.downs,
            effectiveness_ratio=memory.effect.ratio,
            report_lag_s=fleet.roster.report_lag_s(topic, seen.at_s),
            override=None if winner is None else winner[0],
            conditions=conditions(
                seen,
                self._decisions.get(topic),
                fleet.params[topic],
                probe_failure_count=0 if failure is None else failure.count,
                start_failure_count=fleet.start_failure_count(topic),
                is_capacity_known=self._is_capacity_known,
            ),
        )
