"""Workers and the scaler as Ray actors: the one place where classes become actors and actors are started and ended."""

from __future__ import annotations

import pickle
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.cluster.capacity import SCALER_NAME, RayOutlet, head_node_id
from hermes_ray.core.model import Bundle
from hermes_ray.scaler.ports import StartResult
from hermes_ray.worker.spec import WorkerSpec
from hermes_ray.worker.worker import Worker

__all__ = ["Pool", "StartResult", "actor_names", "cause_text", "create_scaler", "find_scaler", "packed", "start_once"]
__all__ += ["unpacked"]

INLINE_BYTES = 64_000  # Ray's limit is 100 KiB


class Pool:
    """The workers of one namespace. Calls return at once; what a worker does about them shows in its reports."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._handles: dict[str, Any] = {}
        self._starting: dict[str, Any] = {}

    def start(self, spec: WorkerSpec, topic: str, size: Bundle) -> str:
        """Ask Ray for one more worker; returns its name ``TOPIC/xxxxxxxx``."""
        worker = f"{topic}/{secrets.token_hex(4)}"
        handle: Any = (
            ray.remote(Worker)
            .options(
                name=worker,
                namespace=self._namespace,
                lifetime="detached",
                max_restarts=0,
                num_cpus=size.num_cpus,
                memory=size.memory_bytes or None,
                resources=dict(size.custom) or None,
            )
            .remote(replace(spec, worker=worker), RayOutlet(self._namespace))
        )
        self._handles[worker] = handle
        self._starting[worker] = handle.__ray_ready__.remote()
        return worker

    def living(self) -> list[str]:
        """Names of the workers that Ray has, those it has yet to place included."""
        names = [name for name in actor_names(self._namespace) if "/" in name]
        for gone in self._handles.keys() - set(names) - self._starting.keys():
            del self._handles[gone]
        return names

    def start_results(self) -> list[StartResult]:
        """The starts that ended since the last call."""
        results = []
        for worker, ready in list(self._starting.items()):
            done, _ = ray.wait([ready], timeout=0)
            if done:
                del self._starting[worker]
                results.append(StartResult(worker=worker, error=_failure(ready)))
        return results

    def running_count(self, worker: str) -> int:
        """Handlers that run in ``worker`` now; 0 if it does not say."""
        try:
            state: dict[str, int] = ray.get(self._handle(worker).state.remote(), timeout=1)
        except (RayError, AttributeError):  # no answer, or no worker any more
            return 0
        return state["running"]

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

    def _handle(self, worker: str) -> Any:
        if worker not in self._handles:
            try:
                self._handles[worker] = ray.get_actor(worker, namespace=self._namespace)
            except ValueError:  # gone meanwhile
                return None
        return self._handles[worker]


def actor_names(namespace: str) -> list[str]:
    """The named actors of ``namespace`` that are alive or on their way."""
    return [
        actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True) if actor["namespace"] == namespace
    ]


def create_scaler(cls: type, namespace: str, plan: object) -> Any:
    """Start the detached scaler of ``namespace`` with ``packed(plan)``; raises ``ValueError`` if there is one."""
    head = head_node_id()
    return (
        ray.remote(cls)
        .options(
            name=SCALER_NAME,
            namespace=namespace,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            # Its checkpoint is a file there; elsewhere it starts without one.
            scheduling_strategy=NodeAffinitySchedulingStrategy(head, soft=True) if head else "DEFAULT",
        )
        .remote(*packed(plan))
    )


def packed(value: object) -> list[bytes]:
    """Arguments small enough for Ray to keep with the actor; ``unpacked`` makes the value of them again.

    A larger one would be kept by the driver's process, and without that no restart of the actor could have it.
    """
    whole = pickle.dumps(value)
    return [whole[start : start + INLINE_BYTES] for start in range(0, len(whole), INLINE_BYTES)]


def unpacked(pieces: Iterable[bytes]) -> Any:
    """The value that was ``packed``."""
    return pickle.loads(b"".join(pieces))


def find_scaler(namespace: str) -> Any | None:
    """The scaler of ``namespace``, None if there is none."""
    try:
        return ray.get_actor(SCALER_NAME, namespace=namespace)
    except ValueError:
        return None


def _failure(ready: Any) -> str | None:
    try:
        ray.get(ready, timeout=1)
    except GetTimeoutError:
        return "did not answer after its start"
    except RayError as error:
        return cause_text(error)
    return None


def cause_text(error: BaseException) -> str:
    """What Ray's error is about: the last line of the innermost traceback it carries."""
    cause: BaseException = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(cause).__name__


def start_once(function: Callable[..., Any], *arguments: Any) -> Callable[[float], Any]:
    """Start ``function`` in a fresh worker process of the cluster that reserves nothing.

    Returns what waits for its result, for so many seconds, and raises what it raised.
    """
    result = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(function).remote(*arguments)
    return lambda timeout_s: ray.get(result, timeout=timeout_s)
