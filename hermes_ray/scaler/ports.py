"""What a scaler needs of the cluster, as protocols: ``cluster/`` has them with Ray, tests without."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hermes_ray.broker.depth import ProbeFailure
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.core.model import Capacity, Probe
from hermes_ray.core.resources import Resources
from hermes_ray.scaler.memory import Changes
from hermes_ray.worker.spec import WorkerSpec

__all__ = ["CapacityView", "DepthView", "StartResult", "StateStore", "WorkerPool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartResult:
    """How a start ended: ``error`` is None when the worker is up, else why it is not."""

    worker: str
    error: str | None


class WorkerPool(Protocol):
    """Where workers are started and ended: ``cluster.worker_pool.RayWorkerPool``."""

    def start(self, spec: WorkerSpec, topic: str, size: Resources, node_id: str | None = None) -> str:
        """Ask for one more worker, on this node if it has room still; returns its name ``TOPIC/xxxxxxxx``."""

    def living(self) -> Collection[str]:
        """Names of the workers there are, those on their way included."""

    def start_results(self) -> list[StartResult]:
        """The starts that ended since the last call."""

    def waiting(self) -> Collection[str]:
        """Those of them that have no process yet: they have a place set aside, or wait for one."""

    def drain(self, worker: str, timeout_s: float) -> None:
        """Ask ``worker`` to drain; asking again does no harm."""

    def adapt(self, worker: str, queue: QueueSpec) -> None:
        """Tell ``worker`` of changed retry settings and routes; telling again does no harm."""

    def kill(self, worker: str) -> None:
        """End ``worker`` at once."""

    def end_process(self, worker: str, node_id: str, pid: int) -> None:
        """See to it that the process of a killed worker ends although it does not answer: it is living until then."""


class CapacityView(Protocol):
    """What the cluster can hold of our workers: ``cluster.capacity.ClusterView``."""

    def capacity(
        self,
        ours: Mapping[str, Resources],
        unplaced: Collection[Resources],
        sizes: Iterable[Resources],
        now_s: float,
    ) -> Capacity | None:
        """Capacity by node; None when unknown."""


class DepthView(Protocol):
    """How many messages wait: ``broker.depth.DepthProber``."""

    @property
    def failures(self) -> Mapping[str, ProbeFailure]:
        """The topics whose last probe failed, and why."""

    def probes(self) -> Mapping[str, Probe]:
        """The last probe of each topic that ever had one."""

    def failure_count(self, topic: str) -> int:
        """Probes of ``topic`` that failed since the start."""

    def waits_exist(self, topic: str, rungs_ms: Iterable[int]) -> None:
        """There are wait queues of these delays; cheap to say again."""

    def retried(self, topic: str) -> None:
        """Messages of ``topic`` were retried a moment ago."""

    def known_waits(self) -> Mapping[str, tuple[int, ...]]:
        """The delays of each topic's wait queues that are known and have not vanished."""


class StateStore(Protocol):
    """Where the memory is kept: ``checkpoint.Checkpoint``."""

    @property
    def wants_whole(self) -> bool:
        """Whether the next write has to be of everything."""

    def write(self, changes: Changes) -> None:
        """Put ``changes`` on disk; raises ``OSError``, and wants everything then, since no later change has these."""
