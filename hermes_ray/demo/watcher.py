"""The eye on the demo's deployment: asks the scaler twice a second, from the start to its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

from hermes_ray.cli.record import Record
from hermes_ray.cluster.client import Deployment
from hermes_ray.errors import OperationFailed

__all__ = ["Watcher"]

log = logging.getLogger(__name__)

ASK_EVERY_S = 0.5


class Watcher:
    """Keeps the last ``status``, adds each to the record once that began, and waits for the scaler's last words.

    A context manager: after it the thread asks no more. Asking a Ray that has ended would start another one.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.status: dict[str, Any] = {"topics": {}}
        self._deployment = deployment
        self._record: Record | None = None
        self._result: dict[str, int] | None = None
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._leaving.set()
        self._thread.join()

    def begin(self, topics: Iterable[str]) -> Record:
        """The record, its time counted from now."""
        self._record = Record(topics, time.time())
        return self._record

    def wait_for_end(self, timeout_s: float) -> dict[str, int]:
        """How the scaler ended, ``drained`` and ``killed``; raises ``OperationFailed`` if it does not in time."""
        self._thread.join(timeout_s)
        if self._result is None:
            raise OperationFailed(f"the scaler did not end within {timeout_s:.0f} s of its stop order")
        return self._result

    def _run(self) -> None:
        while self._result is None and not self._leaving.wait(ASK_EVERY_S):
            try:
                self.status = self._deployment.status()
                news = self._deployment.follow(0)
            except OperationFailed as error:
                log.warning("no status: %s", error)
                continue
            if self._record is not None:
                self._record.add(self.status, time.time())
            self._result = None if news is None else news["result"]
