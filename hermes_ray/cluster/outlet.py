"""A worker's way to its scaler and out of its process."""

from __future__ import annotations

import os
import time
from functools import cached_property
from typing import Any

import ray

from hermes_ray.logs import Log, flush

__all__ = ["SCALER_NAME", "RayOutlet"]

log = Log(__name__)

SCALER_NAME = "scaler"
REPORT_TIMEOUT_S = 5.0
LEAVE_S = 10.0  # for Ray to note that the actor has ended by itself, and for what runs at the end of an interpreter


class RayOutlet:
    """The outlet of a worker in ``namespace``."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._scaler: Any = None

    @cached_property
    def node_id(self) -> str | None:
        return str(ray.get_runtime_context().get_node_id())

    def report(self, report: bytes) -> float | None:
        try:
            if self._scaler is None:
                self._scaler = ray.get_actor(SCALER_NAME, namespace=self._namespace)
            answer: float = ray.get(self._scaler.report.remote(report), timeout=REPORT_TIMEOUT_S)
            return answer
        except Exception as error:  # the worker consumes without a scaler, and looks it up anew at the next report
            log.debug("no report: %s", error)
            self._scaler = None
            return None

    def end(self) -> None:
        """Leave by Ray's own way, so that its shutdown hooks run and nothing is restarted; does not return.

        An interpreter that ends waits for the threads of executors, and for one that hangs without end: Ray lists the
        actor as dead then, and nobody would end the process.
        """
        try:
            ray.get_runtime_context().current_actor.__ray_terminate__.remote()
            time.sleep(LEAVE_S)
        finally:
            flush()
            os._exit(0)
