"""What a worker is built from, and what it needs of its surroundings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hermes_ray.broker.broker_spec import BrokerSpec
from hermes_ray.broker.queue_spec import QueueSpec

__all__ = ["Outlet", "WorkerSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """All a worker is built from. ``worker`` is ``TOPIC/xxxxxxxx``; ``prefetch`` None derives it from service time.

    ``revision`` names what the worker is made of; it only comes back in its reports. ``options`` have
    passwords, so a log or traceback that shows a spec leaves them out.
    """

    deployment: str
    worker: str
    broker: BrokerSpec
    queue: QueueSpec
    handler: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    import_paths: tuple[str, ...] = ()
    concurrency: int | None = None
    prefetch: int | None = None
    prefetch_bytes: int = 1 << 26
    timeout_s: float | None = None
    drain_timeout_s: float = 900.0
    report_interval_s: float = 1.0
    revision: str = ""


class Outlet(Protocol):
    """How a worker reaches the rest of the deployment."""

    @property
    def node_id(self) -> str | None:
        """The node this process runs on, None where there are no nodes."""

    def report(self, report: bytes) -> float | None:
        """Hand an encoded report over; returns the seconds until the next one is wanted, None if no scaler answered."""

    def end(self) -> None:
        """End this process, whatever hangs in it; called in a daemon thread after the last report was handed over."""
