"""Workers as Ray actors: started, told and ended by name."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.cluster.outlet import RayOutlet
from hermes_ray.cluster.process_end import ProcessEnds
from hermes_ray.cluster.ray_private import class_of, near, process_of, waiting_actors
from hermes_ray.cluster.tasks import cause_text
from hermes_ray.core.resources import Resources
from hermes_ray.scaler.ports import StartResult
from hermes_ray.worker.spec import WorkerSpec
from hermes_ray.worker.worker import Worker

__all__ = ["RayWorkerPool", "actor_names", "is_worker_name"]

log = logging.getLogger(__name__)

CHECKED_AT_ONCE = 50  # a look costs milliseconds, and a restarted scaler may find thousands
WORKER_NAME = re.compile(r"[A-Za-z0-9_.-]+/[0-9a-f]{8}")


class RayWorkerPool:
    """The workers of one namespace. Calls return at once; what a worker does about them shows in its reports.

    An actor is one of ours by the form of its name and by its class; others in the namespace are left alone.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._handles: dict[str, Any] = {}
        self._starting: dict[str, Any] = {}
        self._foreign: set[str] = set()
        self._ends = ProcessEnds()

    def start(self, spec: WorkerSpec, topic: str, size: Resources, node_id: str | None = None) -> str:
        """Ask Ray for one more worker, on this node or where there is room; returns its name ``TOPIC/xxxxxxxx``."""
        worker = f"{topic}/{secrets.token_hex(4)}"
        handle: Any = (
            ray.remote(Worker)
            .options(
                name=worker,
                namespace=self._namespace,
                lifetime="detached",
                max_restarts=0,
                **_options(size),
                **({} if node_id is None else {"scheduling_strategy": near(node_id)}),
            )
            .remote(replace(spec, worker=worker), RayOutlet(self._namespace))
        )
        self._handles[worker] = handle
        self._starting[worker] = handle.__ray_ready__.remote()
        return worker

    def living(self) -> set[str]:
        """Names of the workers that Ray has, those it has yet to place included, or whose process is yet to end."""
        named = {name for name in actor_names(self._namespace) if is_worker_name(name)}
        self._foreign &= named
        for gone in self._handles.keys() - named - self._starting.keys():
            del self._handles[gone]
        for name in list(named - self._foreign - self._handles.keys())[:CHECKED_AT_ONCE]:
            self._is_ours(name)
        return (named - self._foreign) | self._ends.pending()

    def start_results(self) -> list[StartResult]:
        """The starts that ended since the last call."""
        by_ready = {ready: worker for worker, ready in self._starting.items()}
        done = ray.wait(list(by_ready), num_returns=len(by_ready), timeout=0)[0] if by_ready else ()
        return [StartResult(worker=by_ready[ready], error=self._failure(by_ready[ready])) for ready in done]

    def waiting(self) -> set[str]:
        """Workers of ours that Ray has no process for yet; empty where it does not say."""
        if not self._starting:
            return set()
        try:
            waiting = waiting_actors()
        except Exception as error:
            log.warning("Ray does not say which workers wait for a process: %s", error)
            return set()
        return {worker for worker in self._starting if self._handles[worker]._actor_id.hex() in waiting}

    def running_count(self, worker: str) -> int:
        """Handlers that run in ``worker`` now; 0 if it does not say."""
        try:
            count: int = ray.get(self._handle(worker).running_count.remote(), timeout=1)
        except (RayError, AttributeError):  # no answer, or no worker any more
            return 0
        return count

    def drain(self, worker: str, timeout_s: float) -> None:
        """Ask ``worker`` to drain; asking again does no harm."""
        if (handle := self._handle(worker)) is not None:
            handle.drain.remote(timeout_s)

    def adapt(self, worker: str, queue: QueueSpec) -> None:
        """Tell ``worker`` of changed retry settings and routes; telling again does no harm."""
        if (handle := self._handle(worker)) is not None:
            handle.adapt.remote(queue)

    def kill(self, worker: str) -> None:
        """End ``worker`` at once, or take back a start that Ray has not placed."""
        if (handle := self._handle(worker)) is not None:
            ray.kill(handle, no_restart=True)

    def end(self, worker: str) -> bool:
        """Kill ``worker``, and see to it that its process ends, answering or not; False if it had none yet."""
        if (handle := self._handle(worker)) is None:
            return False
        pid = 0
        with contextlib.suppress(Exception):  # it went meanwhile
            node_id, pid = process_of(handle._actor_id.hex())
            if pid:
                self.end_process(worker, node_id, pid)
        ray.kill(handle, no_restart=True)
        return bool(pid)

    def end_process(self, worker: str, node_id: str, pid: int) -> None:
        """See to it that the process of a worker that is killed ends, answering or not; asking again does no harm."""
        self._ends.begin(worker, node_id, pid)

    def _failure(self, worker: str) -> str | None:
        try:
            ray.get(self._starting.pop(worker), timeout=1)
        except GetTimeoutError:
            return "did not answer after its start"
        except RayError as error:
            return cause_text(error)
        return None

    def _is_ours(self, worker: str) -> bool:
        """Whether an actor of this name is a worker; one that cannot be looked at now counts as one."""
        if worker in self._handles:
            return True
        try:
            handle = ray.get_actor(worker, namespace=self._namespace)
        except (ValueError, RayError):  # gone meanwhile, or not there yet
            return True
        if class_of(handle) == f"{Worker.__module__}.{Worker.__qualname__}":
            self._handles[worker] = handle
            return True
        self._foreign.add(worker)
        return False

    def _handle(self, worker: str) -> Any:
        return self._handles.get(worker) if self._is_ours(worker) else None


def _options(size: Resources) -> dict[str, Any]:
    """Ray's options for a worker of this size: it wants three resources apart from the others."""
    custom = {name: amount for name, amount in size.items() if name not in ("CPU", "GPU", "memory")}
    options = {"num_cpus": size.get("CPU", 0.0), "num_gpus": size.get("GPU"), "memory": size.get("memory")}
    return {**options, "resources": custom or None}


def is_worker_name(name: str) -> bool:
    """Whether a worker could be called so: ``orders/3f2a91bc``."""
    return WORKER_NAME.fullmatch(name) is not None


def actor_names(namespace: str) -> Iterable[str]:
    """The named actors of ``namespace`` that are alive or on their way."""
    actors = ray.util.list_named_actors(all_namespaces=True)
    return [actor["name"] for actor in actors if actor["namespace"] == namespace]
