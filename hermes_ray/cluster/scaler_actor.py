"""The scaler as an actor: answers calls, keeps the time, and leaves the rest to its ``ControlLoop``.

It is a plain class; ``cluster/worker_pool.py`` makes it the detached actor. Ray's main thread only answers calls: the
ticks have a thread of their own. What a call wants changed is done by that thread, between two ticks, and is on disk
before the call returns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import ray

from hermes_ray.broker.depth import DepthProber
from hermes_ray.cluster.capacity import ClusterView, cluster_id
from hermes_ray.cluster.worker_pool import Pool, unpacked
from hermes_ray.deploy.changes import applied
from hermes_ray.deploy.plan import Owner, Plan, probed_topology
from hermes_ray.errors import OperationFailed
from hermes_ray.scaler.checkpoint import Checkpoint, checkpoint_path
from hermes_ray.scaler.codec import from_plain
from hermes_ray.scaler.control_loop import ControlLoop
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.memory import Memory, recalled
from hermes_ray.scaler.roster import Roster
from hermes_ray.scaler.status_rows import decision_row, override_row, worker_row
from hermes_ray.telemetry.exporter import Exporter

__all__ = ["Scaler"]

log = logging.getLogger(__name__)

TICK_S = 1.0
STOPPING_TICK_S = 0.2
MAX_CALLS_PER_S = 200  # what one actor answers with ease; more workers report less often
MAX_REPORT_INTERVAL_S = 20.0
DRIVER_SILENT_S = 5.0
ORDER_TIMEOUT_S = 10.0
UNHEALTHY_S = 15.0
LAST_WORDS_S = 3.0  # for the driver to fetch the result
FOLLOWERS_S = 1.0  # after one driver has it: hermes stop and the serve it ends both want to know

T = TypeVar("T")
Tree = Mapping[str, Any]


def steady_clock(least_s: float) -> Callable[[], float]:
    """Unix seconds that never go back, nor behind ``least_s``: the wall clock read once, the monotonic one since.

    Among restored times of the future, everything new would look old.
    """
    offset_s = max(time.time(), least_s) - time.monotonic()
    return lambda: offset_s + time.monotonic()


class Scaler:
    """Keeps every topic of its plan at its size until it is stopped or replaced.

    It is started with what ``pool.packed`` makes of the plan, and goes on from its checkpoint, where the scaler before
    it has left what it knew.
    """

    def __init__(self, *packed_plan: bytes) -> None:
        plan: Plan = unpacked(packed_plan)
        config = plan.config
        self._plan = plan
        self._checkpoint = Checkpoint(checkpoint_path(config.state_dir, config.broker.urls, config.deployment.name))
        memory = self._recall()
        self._clock = steady_clock(memory.saved_s)
        self._reports: SimpleQueue[tuple[Tree, float]] = SimpleQueue()
        self._orders: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._woken = threading.Event()
        self._over = threading.Event()
        self._result_seen = threading.Event()
        self._report_interval_s = TICK_S
        self._driver_seen_s = 0.0
        self._ticked_s = self._clock()
        retired = {topic: past.retired for topic, past in memory.topics.items()}
        self._fleet = Fleet(
            plan, Pool(config.deployment.name), ClusterView(), Roster(retired, memory.workers, self._clock())
        )
        self._prober = DepthProber(
            config.broker.urls,
            [probed_topology(plan, topic) for topic in config.topics],
            name=f"{config.deployment.name}/scaler/depth",
            clock=self._clock,
        )
        self._loop = ControlLoop(plan, memory, self._fleet, self._prober, self._write)
        self._exporter = Exporter(config.metrics.host, config.metrics.port, lambda: self._loop.figures, self._unhealthy)
        if not memory.saved_s and self._fleet.has_living():
            self._loop.say(f"there is no checkpoint at {self._checkpoint.path}: rates are learnt anew")
        self._loop.save(self._clock(), at_once=True)
        self._prober.start()
        threading.Thread(target=self._run, name="ticks", daemon=True).start()

    def __repr__(self) -> str:
        return "Scaler"

    # Calls: looks answer from what the last tick wrote down

    def ping(self) -> str:
        return "Scaler"

    def report(self, report: Tree) -> float:
        """Take a worker's report; returns the seconds until its next."""
        self._reports.put((report, self._clock()))
        return self._report_interval_s

    def status(self) -> dict[str, Any]:
        """What ``hermes status --json`` prints."""
        loop, owner = self._loop, self._loop.owner
        alive = self._clock() - self._driver_seen_s < DRIVER_SILENT_S
        return {
            "stopping": loop.stop_by_s is not None or loop.result is not None,
            "driver": "alive" if alive else "none",
            "owner": None if owner is None else owner.label,
            "generation": self._plan.generation,
            "applied_at": self._plan.generation / 1000,
            "metrics_url": self._exporter.url,
            "warnings": [text for text in (self._exporter.warning, loop.write_error) if text],
            "topics": loop.topics,
        }

    def applied(self) -> dict[str, Any]:
        """What was applied last, for the next apply to compare with; without secrets."""
        loop = self._loop
        return {**applied(self._plan), "stopped": loop.stopped(), "stopping": loop.stop_by_s is not None}

    def workers(self) -> list[dict[str, Any]]:
        """A row for each living worker."""
        now_s, fleet = self._clock(), self._fleet
        return [worker_row(record, fleet.is_outdated(record), now_s) for record in fleet.roster.all()]

    def decisions(self, topic: str) -> dict[str, Any]:
        """What was decided for ``topic`` last, and the last decisions that changed its target."""
        now = self._loop.decision(topic)
        return {"now": None if now is None else decision_row(now), "recent": list(self._loop.recent_decisions(topic))}

    def follow(self, cursor: int, driver: str | None = None) -> dict[str, Any]:
        """What happened since line ``cursor``; calls of the driver that owns the deployment show that it lives."""
        loop, owner = self._loop, self._loop.owner
        superseded = driver is not None and owner is not None and owner.key != driver
        if owner is not None and owner.key == driver and owner.stays:
            self._driver_seen_s = self._clock()
        if loop.result is not None:
            self._result_seen.set()
        return {
            "lines": [text for number, text in list(loop.lines) if number > cursor],
            "cursor": loop.line_count,
            "superseded_by": owner.label if superseded and owner is not None else None,
            "stopping": loop.stop_by_s is not None,
            "result": loop.result,
        }

    # Orders: on disk when they return

    def stop(self, kill: bool = False) -> float:
        """Drain everything within ``drain_timeout_s`` and end; with ``kill`` at once. Asking again does no harm.

        Returns the seconds that running handlers still have.
        """
        if self._loop.result is not None:
            return 0.0
        return self._do(lambda: self._loop.stop(kill, self._clock()))

    def own(self, owner: Owner) -> None:
        """Another command, that changes nothing, speaks for the deployment from now on."""
        self._do(lambda: self._loop.own(owner))

    def override(self, topic: str, changes: Mapping[str, Any], for_s: float | None = None) -> dict[str, Any] | None:
        """Change fields of what a person has said about ``topic``, a pin ``for_s``; returns what rules now.

        Raises ``OperationFailed`` if it would not last.
        """
        pin = {} if for_s is None else {"pinned_until_s": self._clock() + for_s}
        override = self._do(lambda: self._loop.override(topic, lambda said: replace(said, **{**changes, **pin})))
        if (error := self._loop.write_error) is not None:
            raise OperationFailed(f"{topic} obeys, but a restarted scaler would not know: {error}")
        return override_row(override, self._clock())

    def hand_over(self, state_dir: str, urls: Sequence[str]) -> None:
        """Stop deciding for good, and leave everything known where a scaler of this ``state_dir`` and broker looks.

        Workers consume on; this actor ends. Raises ``OperationFailed`` and goes on if nothing can be left there.
        """

        def leave() -> None:
            if self._loop.stop_by_s is not None:
                raise OperationFailed("nothing was applied: the deployment is stopping")
            before = self._checkpoint
            self._checkpoint = Checkpoint(checkpoint_path(state_dir, urls, self._plan.config.deployment.name))
            self._loop.save(self._clock(), at_once=True)
            if (error := self._loop.write_error) is not None:
                self._checkpoint = before
                raise OperationFailed(f"nothing was applied: {error}; correct state_dir or make room")
            self._over.set()
            self._exporter.close()

        self._do(leave)

    # Ticks

    def _do(self, action: Callable[[], T]) -> T:
        """Have the tick thread do it, and wait until it is on disk."""
        if self._over.is_set():
            raise RuntimeError("this scaler is ending")
        done: Future[T] = Future()
        self._orders.put((action, done))
        self._woken.set()
        return done.result(ORDER_TIMEOUT_S)

    def _run(self) -> None:
        while not self._over.is_set():
            started_s = time.monotonic()
            try:
                self._tick()
            except Exception:
                log.exception("this tick failed; the next one starts afresh")
            if self._loop.result is not None:
                self._over.set()
                if self._result_seen.wait(LAST_WORDS_S):
                    time.sleep(FOLLOWERS_S)
            interval_s = TICK_S if self._loop.stop_by_s is None else STOPPING_TICK_S
            self._woken.wait(max(0.05, interval_s - (time.monotonic() - started_s)))
            self._woken.clear()
            self._obey()
        self._prober.stop()
        self._exporter.close()
        ray.get_runtime_context().current_actor.__ray_terminate__.options(max_task_retries=0).remote()

    def _tick(self) -> None:
        started_s = time.monotonic()
        calls = len(self._fleet.roster.all()) / MAX_CALLS_PER_S
        self._report_interval_s = min(max(TICK_S, calls), MAX_REPORT_INTERVAL_S)
        self._loop.tick(_all_of(self._reports), self._clock())
        self._loop.tick_s = time.monotonic() - started_s
        self._ticked_s = self._clock()

    def _obey(self) -> None:
        for action, done in _all_of(self._orders):
            try:
                answer = action()
                self._loop.save(self._clock(), at_once=True)
                done.set_result(answer)
            except Exception as error:
                done.set_exception(error)

    def _write(self, tree: Tree) -> None:
        started_s = time.monotonic()
        self._checkpoint.write(tree)
        self._loop.saved_in(time.monotonic() - started_s, self._clock())

    def _recall(self) -> Memory:
        memory, tree = None, self._checkpoint.read()
        try:
            memory = None if tree is None else from_plain(Memory, tree)
        except (ValueError, TypeError, KeyError) as error:
            self._checkpoint.set_aside(str(error))
        return recalled(memory, self._plan, cluster_id())

    def _unhealthy(self) -> str | None:
        silent_s = self._clock() - self._ticked_s
        return f"the last tick ended {silent_s:.0f} s ago" if silent_s > UNHEALTHY_S else None


def _all_of(queue: SimpleQueue[T]) -> list[T]:
    found = []
    try:
        while True:
            found.append(queue.get_nowait())
    except Empty:
        return found
