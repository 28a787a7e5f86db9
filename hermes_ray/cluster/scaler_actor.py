"""The scaler as an actor: answers calls, keeps the time, and leaves the rest to its ``ControlLoop``.

It is a plain class; ``cluster/scalers.py`` makes it the detached actor. Ray's main thread only answers calls: the ticks
have a thread of their own, which does what a call wants changed.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import Any

import ray

from hermes_ray import __version__
from hermes_ray.broker.depth import DepthProber
from hermes_ray.cluster.capacity import ClusterView
from hermes_ray.cluster.inheritance import claim, recall
from hermes_ray.cluster.packages import has_own_copy, keep_packages, packages_of
from hermes_ray.cluster.scalers import deployment_names, end_if_replaced, packed, unpacked
from hermes_ray.cluster.worker_pool import RayWorkerPool
from hermes_ray.core.model import Override
from hermes_ray.errors import OperationFailed, UserMistake
from hermes_ray.scaler.checkpoint import Checkpoint, checkpoint_path
from hermes_ray.scaler.clock import SteadyClock, boot_id
from hermes_ray.scaler.control_loop import ControlLoop
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.memory_writer import MemoryWriter
from hermes_ray.scaler.orders import Permit, all_of
from hermes_ray.scaler.plan import Owner, Plan, probed_topology
from hermes_ray.scaler.report_interval import ReportInterval
from hermes_ray.scaler.roster import Roster
from hermes_ray.scaler.status_rows import (
    decision_row,
    former_row,
    override_row,
    past_decision_row,
    rules_alone,
    topic_rows,
    worker_row,
)
from hermes_ray.scaler.tick_thread import TickThread
from hermes_ray.telemetry.exporter import Exporter
from hermes_ray.worker.report import Report, UnknownReport, decode
from hermes_ray.worker.standstill import Standstill

__all__ = ["Scaler"]

DRIVER_SILENT_S = 5.0
SLEEP_S = 1.0  # a shorter sleep of the machine ends no pin too late


class Scaler:
    """Keeps every topic of its plan at its size until it is stopped or replaced.

    It is started with what ``scalers.packed`` makes of the plan, and goes on from its checkpoint, where the scaler
    before it has left what it knew.
    """

    def __init__(self, *packed_plan: bytes) -> None:
        plan: Plan = unpacked(packed_plan)
        config, name = plan.config, plan.config.deployment.name
        self._plan = plan
        self._started_s = time.time()
        self._reports: SimpleQueue[tuple[Report | UnknownReport, float]] = SimpleQueue()
        self._driver_seen_s = 0.0
        self._slept_s = 0.0
        self._standstill, self._looked_s = Standstill(), time.monotonic()
        checkpoint = Checkpoint(checkpoint_path(config.state_dir, config.broker.urls, name))
        pool = RayWorkerPool(name)
        self._refusal = claim(checkpoint, pool, name)
        if self._refusal is not None:
            return  # the command that asks gets it as its answer, and ends this actor
        memory = recall(checkpoint, plan)
        self._warnings = [] if checkpoint.warning is None else [checkpoint.warning]
        anchor = memory.header.anchor
        self._clock = SteadyClock(anchor, boot=boot_id())
        counters = {topic: past.counters for topic, past in memory.topics.items()}
        now_s = self._clock()
        away_s = 0.0 if anchor is None else now_s - anchor.at_s
        roster = Roster(counters, memory.workers.values(), now_s, away_s)
        self._fleet = Fleet(plan, pool, ClusterView(), roster)
        self._prober = DepthProber(
            config.broker.urls,
            [probed_topology(plan, topic) for topic in config.topics],
            name=f"{name}/scaler/depth",
            clock=self._clock,
        )
        self._writer = MemoryWriter(checkpoint, self._clock.anchor)
        self._loop = ControlLoop(plan, memory, self._fleet, self._prober, self._writer)
        ticks = self._ticks = TickThread(self._loop, self._tick, self._leave, self._clock)
        self._exporter = Exporter(
            config.metrics.host, config.metrics.port, lambda: self._loop.figures, ticks.unhealthy, ticks.idle
        )
        if anchor is None and self._fleet.has_living():
            self._loop.say(f"there is no checkpoint at {checkpoint.path}: rates are learnt anew")
        for warning in self._warnings:
            self._loop.say(warning)
        self._report_interval = ReportInterval(memory.header.report_interval_s, self._clock())
        self._set_report_interval()
        self._loop.save(self._clock(), at_once=True)
        self._prober.start()
        threading.Thread(target=self._standstill.watch, args=(ticks.over,), name="standstill", daemon=True).start()
        ticks.start()
        kept = packages_of(plan.environment, *([plan.former.environment] if plan.former else []))
        if kept:
            threading.Thread(target=keep_packages, args=(kept, ticks.over), name="packages", daemon=True).start()

    def __repr__(self) -> str:
        return "Scaler"

    # Calls: status shows what the last tick wrote down, other looks what there is

    def ping(self) -> str:
        """Answer; raises ``UserMistake`` if this deployment cannot be started beside another one."""
        if self._refusal is not None:
            raise UserMistake(self._refusal)
        return "Scaler"

    def permit(self, lasts_s: float) -> Permit:
        """What an order that is given within ``lasts_s`` is to be accompanied by."""
        return self._ticks.permit(lasts_s)

    def report(self, report: bytes) -> float:
        """Take a worker's report; returns the seconds until its next."""
        try:
            said = decode(report)
        except ValueError:  # of a version before reports were bytes
            said = _old_report(report)
        self._reports.put((said, self._clock()))
        return self._report_interval.told_s

    def status(self) -> dict[str, Any]:
        """What ``hermes status --json`` prints."""
        loop, owner = self._loop, self._loop.owner
        alive = self._clock() - self._driver_seen_s < DRIVER_SILENT_S
        stuck = self._ticks.unhealthy()
        warnings = (
            f"nothing is decided and these figures are old: {stuck}; the scaler's log says why" if stuck else None,
            self._exporter.warning,
            loop.write_error,
            *self._warnings,
        )
        return {
            "stopping": loop.stop_by_s is not None or loop.result is not None,
            "driver": "alive" if alive else "none",
            "owner": None if owner is None else owner.label,
            "generation": self._plan.generation,
            "applied_at": self._plan.applied_at,
            "former": former_row(self._plan.former, has_own_copy),
            "started_at": self._started_s,
            "metrics_url": self._exporter.url,
            "warnings": [text for text in warnings if text],
            "others": [name for name in deployment_names() if name != self._plan.config.deployment.name],
            "topics": topic_rows(loop.figures, self._clock.ahead_s()),
        }

    def applied(self) -> dict[str, Any]:
        """What was applied last, for the next apply to compare with; without secrets."""
        loop = self._loop
        return {**self._plan.applied, "stopped": loop.stopped(), "stopping": loop.stop_by_s is not None}

    def plan(self) -> tuple[str, list[bytes]]:
        """The version that can read it, and the plan itself, packed, secrets and all: kept for a rollback."""
        return __version__, packed(self._plan)

    def workers(self) -> list[Mapping[str, Any]]:
        """A row for each living worker."""
        now_s, fleet = self._clock(), self._fleet
        return [
            worker_row(record, fleet.is_outdated(record), fleet.trouble(record, now_s), now_s)
            for record in fleet.roster.all()
        ]

    def decisions(self, topic: str) -> dict[str, Any]:
        """What was decided for ``topic`` last, and the last decisions that changed its target."""
        now, ahead_s = self._loop.decision(topic), self._clock.ahead_s()
        recent = [past_decision_row(topic, past, ahead_s) for past in self._loop.recent_decisions(topic)]
        return {"now": None if now is None else decision_row(now, ahead_s), "recent": recent}

    def follow(self, cursor: int, driver: str | None = None) -> dict[str, Any]:
        """What happened since line ``cursor``; calls of the driver that owns the deployment show that it lives."""
        loop, owner = self._loop, self._loop.owner
        superseded = driver is not None and owner is not None and owner.key != driver
        if owner is not None and owner.key == driver and owner.stays:
            self._driver_seen_s = self._clock()
        if loop.result is not None:
            self._ticks.result_seen.set()
        return {
            "lines": [text for number, text in list(loop.lines) if number > cursor],
            "cursor": loop.line_count,
            "superseded_by": owner.label if superseded and owner is not None else None,
            "stopping": loop.stop_by_s is not None,
            "result": loop.result,
        }

    # Orders: on disk when they return

    def stop(self, permit: Permit, kill: bool = False) -> float:
        """Drain everything within ``drain_timeout_s`` and end; with ``kill`` at once. Asking again does no harm.

        Returns the seconds that running handlers still have.
        """
        if self._loop.result is not None:
            return 0.0
        return self._ticks.do(permit, lambda: self._loop.stop(kill, self._clock()))

    def own(self, permit: Permit, owner: Owner) -> None:
        """Another command, that changes nothing, speaks for the deployment from now on."""
        self._ticks.do(permit, lambda: self._loop.own(owner))

    def override(
        self, permit: Permit, topic: str, changes: Mapping[str, Any], for_s: float | None = None
    ) -> dict[str, Any] | None:
        """Change fields of what a person has said about ``topic``, a pin ``for_s``; returns what rules now.

        Raises ``OperationFailed`` if it would not last.
        """
        pin = {} if for_s is None else {"pinned_until_s": self._clock() + for_s}
        said = {**changes, **pin}

        def change(past: Override) -> Override:
            return dataclasses.replace(past, **said)

        def order() -> Override:
            if self._loop.stop_by_s is not None:
                raise OperationFailed(
                    f"deployment {self._plan.config.deployment.name} is stopping, and would forget it"
                )
            return self._loop.override(topic, change)

        override = self._ticks.do(permit, order)
        if (error := self._loop.write_error) is not None:
            raise OperationFailed(f"{topic} obeys, but a restarted scaler would not know: {error}")
        return override_row(override, self._clock(), self._clock.ahead_s())

    def forget(self, permit: Permit, topic: str) -> None:
        """Forget a topic that is left out; raises ``UserMistake`` for one that is configured, or not known."""
        if topic in self._plan.config.topics:
            raise UserMistake(f"{topic} is in the configuration: leave it out and apply, then forget it")
        if not self._ticks.do(permit, lambda: self._loop.forget(topic)):
            known = ", ".join(self._loop.left_out()) or "none"
            raise UserMistake(f"there is no left-out topic {topic}: there is {known}")

    def hand_over(self, permit: Permit, state_dir: str, urls: Sequence[str]) -> None:
        """Stop deciding for good, and leave everything known where a scaler of this ``state_dir`` and broker looks.

        Workers consume on; this actor ends. Raises ``OperationFailed`` and goes on if nothing can be left there.
        """

        def leave() -> None:
            if self._loop.stop_by_s is not None:
                raise OperationFailed("nothing was applied: the deployment is stopping")
            before = self._writer.store
            path = checkpoint_path(state_dir, urls, self._plan.config.deployment.name)
            store = before if isinstance(before, Checkpoint) and before.path == path else Checkpoint(path)
            self._writer.store = store
            self._loop.save(self._clock(), at_once=True, whole=True)
            if (error := self._loop.write_error) is not None:
                self._writer.store = before
                raise OperationFailed(f"nothing was applied: {error}; correct state_dir or make room")
            self._ticks.over.set()
            store.close()
            self._exporter.close()

        self._ticks.do(permit, leave, saves=False)

    # In the thread of the ticks

    def _tick(self) -> None:
        self._set_report_interval()
        self._loop.clock_offset_s = self._clock.ahead_s()
        since_s, self._looked_s = self._looked_s, time.monotonic()
        if (away_s := self._standstill.within_s(since_s)) > 0.0:
            end_if_replaced(self._plan.config.deployment.name)
            self._loop.was_away(away_s, self._clock())
        if (slept_s := self._clock.slept_s()) - self._slept_s > SLEEP_S:
            self._loop.slept(slept_s - self._slept_s)
            self._slept_s = slept_s
        self._loop.tick(all_of(self._reports), self._clock())
        if not self._plan.has_worked and rules_alone(self._loop.figures):
            self._plan = dataclasses.replace(self._plan, has_worked=True)

    def _leave(self) -> None:
        self._prober.stop()
        self._exporter.close()
        ray.get_runtime_context().current_actor.__ray_terminate__.options(max_task_retries=0).remote()

    def _set_report_interval(self) -> None:
        self._report_interval.update(len(self._fleet.roster), self._clock())
        self._fleet.report_interval_s = self._report_interval.kept_s


def _old_report(report: Any) -> UnknownReport:
    """Workers of before report a mapping: they live, and are replaced."""
    return UnknownReport(worker=str(report["worker"]), version=int(report["version"]))
