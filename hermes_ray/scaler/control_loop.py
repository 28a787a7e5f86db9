"""Collect, decide, act, save: what a scaler does each second, without threads or Ray of its own.

Level-triggered: each tick compares what there is with what is wanted, so that a lost call heals itself. What is shown
to the outside is what was last written down, so that no count ever goes back.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec import structs

from hermes_ray.core.effect import judge
from hermes_ray.core.estimate import snapshot
from hermes_ray.core.model import Capacity, Decision, Override, Reason, Snapshot
from hermes_ray.core.policy import PolicyState, ended, step
from hermes_ray.scaler.decision_memory import kept_decision_count, with_decision
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.learning import Learning
from hermes_ray.scaler.left_out import LeftOut
from hermes_ray.scaler.memory import Memory, TopicLearnt, TopicMemory, policy_state, without_overrides
from hermes_ray.scaler.memory_writer import MemoryWriter
from hermes_ray.scaler.plan import Owner, Plan
from hermes_ray.scaler.ports import DepthView
from hermes_ray.scaler.tally import Tally
from hermes_ray.scaler.topic_figures import topic_figures
from hermes_ray.telemetry.figures import Figures, PastDecision, TopicFigures
from hermes_ray.worker.report import Report, UnknownReport

__all__ = ["ControlLoop"]

log = logging.getLogger(__name__)

KEPT_LINES = 1_000
KILL_GRACE_S = 2.0  # for a worker to end itself at its deadline

Reports = Iterable[tuple[Report | UnknownReport, float]]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What one tick decided; ``capacity`` is what it was decided on."""

    decisions: tuple[Decision, ...]
    policy: PolicyState
    capacity: Capacity | None


class ControlLoop:
    """Keeps every topic of ``plan`` at its size, going on from ``memory``, which ``writer`` puts on disk.

    Ticks and orders belong to one thread. Others may look at any time: ``figures`` are of one moment, all else may be
    of a tick that is half done.
    """

    def __init__(self, plan: Plan, memory: Memory, fleet: Fleet, prober: DepthView, writer: MemoryWriter) -> None:
        self._plan = plan
        self._fleet = fleet
        self._prober = prober
        self._writer = writer
        self._header = memory.header
        self._topics = {
            topic: structs.replace(memory.topics.get(topic, TopicMemory()), left_out_since_s=None)
            for topic in plan.config.topics
        }
        self._learnt = {topic: memory.learnt.get(topic, TopicLearnt()) for topic in plan.config.topics}
        self._left_out = LeftOut(memory, plan.config.topics)
        for topic, past in self._topics.items():
            prober.waits_exist(topic, past.wait_rungs_ms)
        self._policy = policy_state(memory)
        self._learning = Learning(fleet, prober)
        self._tally = Tally(fleet, prober)
        self._decisions: dict[str, Decision] = {}
        self._seen: dict[str, Snapshot] = {}
        self._placeless: set[str] = set()
        self._is_capacity_known = False
        self._killed_before = fleet.killed_count
        self._kill_now = False
        self._kept_decisions = kept_decision_count(len(self._topics))
        self.owner = memory.header.owner
        self.stop_by_s = memory.header.stop_by_s
        self.result: dict[str, int] | None = None
        self.lines: deque[tuple[int, str]] = deque(maxlen=KEPT_LINES)
        self.line_count = 0
        self.tick_s = 0.0
        self.clock_offset_s = 0.0  # what the clock of all these seconds is ahead of the wall
        self.figures: Figures | None = None

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
        self._topics[topic] = structs.replace(memory, override=change(memory.override))
        return self._topics[topic].override

    def was_away(self, away_s: float, now_s: float) -> None:
        """This process stood still for so long, and what its workers said with it."""
        self._fleet.was_away(away_s, now_s)

    def slept(self, slept_s: float) -> None:
        """The machine slept for so long, which no clock of ours has counted, but whoever said when a pin is to end."""
        for topic, memory in self._topics.items():
            if (until_s := memory.override.pinned_until_s) is not None:
                moved = dataclasses.replace(memory.override, pinned_until_s=until_s - slept_s)
                self._topics[topic] = structs.replace(memory, override=moved)

    def forget(self, topic: str) -> bool:
        """Forget a topic that is not configured any more; False if there is none of that name."""
        return self._left_out.forget(topic)

    # Looks

    @property
    def write_error(self) -> str | None:
        """Why the memory could not be written, None if it could."""
        return self._writer.error

    def decision(self, topic: str) -> Decision | None:
        """What was decided for ``topic`` last, changed or not."""
        return self._decisions.get(topic)

    def stopped(self) -> list[str]:
        """The topics that are left out until the next apply."""
        return [topic for topic, memory in self._topics.items() if memory.override.stopped]

    def left_out(self) -> list[str]:
        """The topics that are not configured any more, and remembered."""
        return list(self._left_out.topics)

    def recent_decisions(self, topic: str) -> tuple[PastDecision, ...]:
        """The last decisions that changed something for ``topic``, oldest first."""
        return self._topics[topic].recent_decisions

    def say(self, line: str) -> None:
        """A line for the log and whoever follows."""
        log.info("%s", line)
        self.line_count += 1
        self.lines.append((self.line_count, line))

    # Ticks

    def tick(self, reports: Reports, now_s: float) -> None:
        """One round."""
        self._collect(reports, now_s)
        if self.stop_by_s is None:
            self._act(self._decide(now_s), now_s)
        else:
            self._wind_down(self.stop_by_s, now_s)
        self.save(now_s, at_once=self.result is not None)

    def _collect(self, reports: Reports, now_s: float) -> None:
        roster, failures = self._fleet.roster, self._prober.failures
        for report, at_s in reports:
            roster.take(report, at_s, self._fleet.report_interval_s)
        refused = {topic for topic, failure in failures.items() if failure.is_answer}
        for line in self._fleet.refresh(now_s, failures.keys(), refused):
            self.say(line)
        self._left_out.count(roster)
        probes, interval_s, waits = self._prober.probes(), self._fleet.report_interval_s, self._prober.known_waits()
        for topic in self._topics:
            self._topics[topic] = self._tally.brought_up(topic, self._topics[topic], waits.get(topic, ()))
            if roster.is_complete(topic, now_s, interval_s):
                self._learnt[topic] = self._learning.learn(topic, self._learnt[topic], probes.get(topic), now_s)

    def _decide(self, now_s: float) -> _Verdict:
        capacity = self._fleet.capacity(now_s)
        overrides = {topic: memory.override for topic, memory in self._topics.items()}
        self._seen = {topic: self._look_at(topic, now_s) for topic in self._topics}
        policy, decisions = step(
            self._policy,
            self._seen,
            capacity,
            self._fleet.params,
            now_s,
            overrides,
            former=self._fleet.former(now_s),
            startable=self._fleet.startable(now_s),
            report_interval_s=self._fleet.report_interval_s,
        )
        return _Verdict(decisions, policy, capacity)

    def _act(self, verdict: _Verdict, now_s: float) -> None:
        self._policy = verdict.policy
        self._is_capacity_known = verdict.capacity is not None
        decisions = verdict.decisions
        placeless = {d.topic for d in decisions if d.target == 0 and d.reason is Reason.CAPACITY}
        for decision in decisions:
            self._remember(decision, now_s)
            # That a first worker fits nowhere is news too, although it changes no target.
            if decision.target != decision.before or decision.topic in placeless - self._placeless:
                self.say(f"{decision.topic}: {decision.text}")
        self._placeless = placeless
        self._decisions = {decision.topic: decision for decision in decisions}
        targets = {decision.topic: decision.target for decision in decisions}
        kept = {decision.topic for decision in decisions if decision.is_kept}
        wanted = {decision.topic: decision.wanted for decision in decisions if not decision.is_kept}
        for line in self._fleet.reconcile(targets, verdict.capacity, now_s, kept, wanted):
            self.say(line)

    def _remember(self, decision: Decision, now_s: float) -> None:
        topic, interval_s = decision.topic, self._fleet.report_interval_s
        past, slots = self._learnt[topic], self._fleet.params[topic].concurrency
        effect = judge(past.effect, decision, decision.snapshot, now_s, concurrency=slots, report_interval_s=interval_s)
        self._learnt[topic] = structs.replace(past, effect=effect, policy=self._policy.topics[topic])
        if decision.target != decision.before:
            self._topics[topic] = with_decision(self._topics[topic], decision, self._kept_decisions)

    def _wind_down(self, stop_by_s: float, now_s: float) -> None:
        kill = self._kill_now or now_s > stop_by_s + KILL_GRACE_S
        for topic, decision in self._decisions.items():
            self._decisions[topic] = ended(decision, self._look_at(topic, now_s), self._fleet.params[topic])
        if self._fleet.wind_down(stop_by_s, kill, now_s):
            return
        killed = self._fleet.killed_count - self._killed_before
        self.result = {"drained": self._fleet.drained_count, "killed": killed}
        # The stop order stays in the memory: a scaler that is killed in its last seconds is restarted by Ray, and would
        # start the deployment again.
        self._policy = PolicyState()
        self._learnt = {topic: structs.replace(past, policy=None) for topic, past in self._learnt.items()}
        for memories in (self._topics, self._left_out.topics):
            memories.update(without_overrides(memories))

    # Saving and showing

    def save(self, now_s: float, *, at_once: bool = False, whole: bool = False) -> None:
        """Write the memory down, then show what was written; or, where it cannot be, what would have been."""
        if not at_once and not self._writer.is_due(now_s):
            return
        self._left_out.forget_the_long_gone(now_s, self._plan.config.forget_after_s)
        had_error = self._writer.error is not None
        header = structs.replace(
            self._header,
            owner=self.owner,
            stop_by_s=self.stop_by_s,
            report_interval_s=self._fleet.report_interval_s,
        )
        self._writer.write(
            header,
            self._topics | self._left_out.topics,
            self._learnt | self._left_out.learnt,
            self._fleet.roster,
            now_s,
            whole=whole,
        )
        if self._writer.error is not None and not had_error:
            self.say(f"{self._writer.error}; a restarted scaler would learn anew")
        self.figures = Figures(
            at_s=now_s,
            tick_s=self.tick_s,
            topics={topic: self._figures_of(topic, now_s) for topic in self._topics},
            clock_offset_s=self.clock_offset_s,
        )

    def _look_at(self, topic: str, now_s: float) -> Snapshot:
        team = self._fleet.team(topic, now_s)
        return snapshot(
            self._learnt[topic].history,
            topic,
            team.counts,
            now_s,
            team.slot_count,
            report_interval_s=self._fleet.report_interval_s,
        )

    def _figures_of(self, topic: str, now_s: float) -> TopicFigures:
        seen = self._seen.get(topic)
        if seen is None or seen.at_s != now_s:
            seen = self._look_at(topic, now_s)
        return topic_figures(
            self._plan.config.queue_of(topic),
            seen,
            self._decisions.get(topic),
            self._topics[topic],
            self._fleet,
            failure=self._prober.failures.get(topic),
            effectiveness_ratio=self._learnt[topic].effect.ratio,
            is_capacity_known=self._is_capacity_known,
        )
