"""The scaler: collect, evaluate, execute, each second, for as long as it lives.

Level-triggered: each tick compares what there is with what is wanted, so that a lost call heals itself. It is a plain
class; ``runtime/pool.py`` makes it the detached actor. Ray's main thread only answers calls: the ticks have a thread of
their own, and the two share nothing but a queue of reports, a few flags and snapshots that are replaced, not changed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import ray

from hermes_ray.broker.depth import DepthProber
from hermes_ray.config import Config
from hermes_ray.core.estimate import History, observe, snapshot
from hermes_ray.core.model import Decision, Probe, Reason, Snapshot
from hermes_ray.core.policy import PolicyState, step
from hermes_ray.runtime.cluster import ClusterView, StopOrder
from hermes_ray.runtime.crew import Crew, topology_of
from hermes_ray.runtime.pool import Pool
from hermes_ray.runtime.status import status_of

__all__ = ["Plan", "Scaler"]

log = logging.getLogger(__name__)

TICK_S = 1.0
MAX_CALLS_PER_S = 200  # what one actor answers with ease; more workers report less often
MAX_REPORT_INTERVAL_S = 20.0
DRIVER_SILENT_S = 5.0
KEPT_LINES = 1_000
KEPT_PROBES = 8
LAST_WORDS_S = 3.0  # for the driver to fetch the result
FOLLOWERS_S = 1.0  # after one driver has it: hermes stop and the serve it ends both want to know
KILL_GRACE_S = 2.0  # for a worker to end itself at its deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the scaler is started with: the configuration, slots per worker by topic, and where handlers are found."""

    config: Config
    concurrency: Mapping[str, int]
    import_paths: tuple[str, ...]


def steady_clock() -> Callable[[], float]:
    """Unix seconds that never go back: the wall clock read once, the monotonic one since."""
    offset_s = time.time() - time.monotonic()
    return lambda: offset_s + time.monotonic()


class Scaler:
    """Keeps every topic of ``plan`` at its size until it is stopped."""

    def __init__(self, plan: Plan) -> None:
        config = plan.config
        self._plan = plan
        self._clock = steady_clock()
        self._reports: SimpleQueue[tuple[Mapping[str, Any], float]] = SimpleQueue()
        self._report_interval_s = TICK_S
        self._crew = Crew(config, plan.concurrency, plan.import_paths, Pool(config.cluster.name), ClusterView())
        self._prober = DepthProber(
            config.broker.urls,
            [topology_of(config, topic) for topic in config.topics],
            name=f"{config.cluster.name}/scaler/depth",
            clock=self._clock,
        )
        self._histories: dict[str, History] = {topic: History() for topic in config.topics}
        self._probes: dict[str, deque[Probe]] = {topic: deque(maxlen=KEPT_PROBES) for topic in config.topics}
        self._retried = dict.fromkeys(config.topics, 0)
        self._policy = PolicyState()
        self._targets: dict[str, int] = {}
        self._last_decisions: dict[str, Decision] = {}
        self._placeless: set[str] = set()
        self._lines: deque[tuple[int, str]] = deque(maxlen=KEPT_LINES)
        self._line_count = 0
        self._stop_order = StopOrder(config.cluster.name)
        self._stop_by_s = self._stop_order.recall()
        self._killed_before = 0
        self._kill_now = False
        self._result: dict[str, int] | None = None
        self._result_seen = threading.Event()
        self._driver_seen_s = 0.0
        self._publish_status()
        self._prober.start()
        threading.Thread(target=self._run, name="ticks", daemon=True).start()

    def __repr__(self) -> str:
        return "Scaler"

    # Calls: they answer from what the last tick left

    def ping(self) -> str:
        return "Scaler"

    def report(self, report: Mapping[str, Any]) -> float:
        """Take a worker's report; returns the seconds until its next."""
        self._reports.put((report, self._clock()))
        return self._report_interval_s

    def status(self) -> dict[str, Any]:
        """What ``hermes status --json`` prints."""
        alive = self._clock() - self._driver_seen_s < DRIVER_SILENT_S
        return {**self._status, "driver": "alive" if alive else "none"}

    def follow(self, cursor: int) -> dict[str, Any]:
        """What happened since line ``cursor``, for the driver, whose calls show that it lives."""
        self._driver_seen_s = self._clock()
        result = self._result
        if result is not None:
            self._result_seen.set()
        return {
            "lines": [text for number, text in list(self._lines) if number > cursor],
            "cursor": self._line_count,
            "stopping": self._stop_by_s is not None,
            "result": result,
        }

    def stop(self, kill: bool = False) -> float:
        """Drain everything within ``drain_timeout_s`` and end; with ``kill`` at once. Asking again does no harm.

        Returns the seconds that running handlers still have.
        """
        now_s = self._clock()
        if self._stop_by_s is None:
            self._killed_before = self._crew.killed_count
            self._stop_by_s = now_s + self._plan.config.drain_timeout_s
            self._stop_order.note(self._stop_by_s)
        self._kill_now = self._kill_now or kill
        return max(0.0, self._stop_by_s - now_s)

    # Ticks

    def _run(self) -> None:
        while self._result is None:
            started_s = time.monotonic()
            try:
                self._tick(self._clock())
            except Exception:
                log.exception("this tick failed; the next one starts afresh")
            time.sleep(max(0.05, (0.2 if self._stop_by_s else TICK_S) - (time.monotonic() - started_s)))
        if self._result_seen.wait(LAST_WORDS_S):
            time.sleep(FOLLOWERS_S)
        self._prober.stop()
        self._stop_order.forget()
        ray.get_runtime_context().current_actor.__ray_terminate__.options(max_task_retries=0).remote()

    def _tick(self, now_s: float) -> None:
        self._collect(now_s)
        if self._stop_by_s is not None:
            self._wind_down(now_s, self._stop_by_s)
        else:
            self._decide(now_s)
        self._publish_status()

    def _collect(self, now_s: float) -> None:
        roster = self._crew.roster
        try:
            while True:
                roster.take(*self._reports.get_nowait())
        except Empty:
            pass
        for line in self._crew.sync(now_s):
            self._say(line)
        for topic, history in self._histories.items():
            if roster.is_complete(topic, now_s):
                self._histories[topic] = self._observe(topic, history, now_s)
        calls = len(roster.all()) / MAX_CALLS_PER_S
        self._report_interval_s = min(max(TICK_S, calls), MAX_REPORT_INTERVAL_S)

    def _observe(self, topic: str, history: History, now_s: float) -> History:
        roster, probe, recent = self._crew.roster, self._prober.probes().get(topic), self._probes[topic]
        if probe is not None and (not recent or probe.at_s > recent[-1].at_s):
            recent.append(probe)
        retried = roster.settled(topic)["retried"]
        if retried > self._retried[topic]:
            self._retried[topic] = retried
            self._prober.look_again(topic)
        return observe(history, probe, roster.totals(topic), now_s, roster.arrived(topic, recent, now_s))

    def _snapshots(self, now_s: float) -> dict[str, Snapshot]:
        roster = self._crew.roster
        return {
            topic: snapshot(history, topic, roster.counts(topic), now_s) for topic, history in self._histories.items()
        }

    def _decide(self, now_s: float) -> None:
        capacity = self._crew.capacity(now_s)
        seen = self._snapshots(now_s)
        self._policy, decisions = step(self._policy, seen, capacity, self._crew.params, now_s)
        placeless = {d.topic for d in decisions if d.target == 0 and d.reason is Reason.CAPACITY}
        for decision in decisions:
            if decision.target != decision.before:
                self._last_decisions[decision.topic] = decision
            # That a first worker fits nowhere is news too, although it changes no target.
            if decision.target != decision.before or decision.topic in placeless - self._placeless:
                self._say(f"{decision.topic}: {decision.text}")
        self._placeless = placeless
        self._targets = {decision.topic: decision.target for decision in decisions}
        self._crew.match(self._targets, capacity, now_s)

    def _wind_down(self, now_s: float, stop_by_s: float) -> None:
        self._targets = dict.fromkeys(self._targets, 0)
        kill = self._kill_now or now_s > stop_by_s + KILL_GRACE_S
        if not self._crew.wind_down(max(0.0, stop_by_s - now_s), kill, now_s):
            killed = self._crew.killed_count - self._killed_before
            self._result = {"drained": self._crew.drained_count, "killed": killed}

    def _publish_status(self) -> None:
        last, targets, failures = self._last_decisions, self._targets, self._prober.failures
        self._status = {
            "stopping": self._stop_by_s is not None,
            "topics": {
                topic: status_of(seen, self._crew, last.get(topic), targets.get(topic), failures.get(topic))
                for topic, seen in self._snapshots(self._clock()).items()
            },
        }

    def _say(self, line: str) -> None:
        log.info("%s", line)
        self._line_count += 1
        self._lines.append((self._line_count, line))
