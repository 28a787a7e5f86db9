"""Asks a deployment's scaler, or the one that has taken its place, again and again until the deployment ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from hermes_ray.cli.record import Recording
from hermes_ray.errors import HermesError, OperationFailed

__all__ = ["Watched", "Watcher"]

log = logging.getLogger(__name__)

LEAVING_S = 1.0


class Watched(Protocol):
    """What is asked of a ``Deployment``."""

    def status(self) -> dict[str, Any]: ...

    def follow(self, cursor: int, driver: str | None = None) -> dict[str, Any] | None: ...


class Watcher:
    """Asks every ``ask_every_s`` in a thread of its own; answers go into ``record``, the last words into ``result``.

    ``record`` may be replaced; the next answer goes into the new one. A context manager: after it the thread asks no
    more. Asking a Ray that has ended would start another one.
    """

    def __init__(self, deployment: Watched, record: Recording, ask_every_s: float) -> None:
        self.record = record
        self.result: Mapping[str, int] | None = None
        self._deployment = deployment
        self._ask_every_s = ask_every_s
        self._failure: HermesError | None = None
        self._answered = threading.Event()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._leaving.set()
        self._thread.join(LEAVING_S)  # a call to a scaler that is away may take its time, and a person does not wait

    @property
    def is_asking(self) -> bool:
        """Whether its thread goes on, because a scaler that is away has left it without an answer."""
        return self._thread.is_alive()

    def wait(self, timeout_s: float) -> bool:
        """Wait for an answer not seen by a ``wait`` before, ``timeout_s`` at most; False if there is none.

        Raises what ended the asking: ``OperationFailed`` if the scaler stays away.
        """
        if self._failure is not None:
            raise self._failure
        is_fresh = self._answered.wait(timeout_s)
        self._answered.clear()
        return is_fresh

    def wait_for_end(self, timeout_s: float) -> Mapping[str, int]:
        """How the scaler ended, ``drained`` and ``killed``; raises ``OperationFailed`` if it does not in time."""
        self._thread.join(timeout_s)
        if self.result is None:
            raise OperationFailed(f"the scaler did not end within {timeout_s:.0f} s of its stop order")
        return self.result

    def _run(self) -> None:
        cursor, next_s = 0, time.monotonic()
        while self.result is None and not self._leaving.wait(max(0.0, next_s - time.monotonic())):
            next_s = max(next_s + self._ask_every_s, time.monotonic())
            try:
                self._look()
                if self._leaving.is_set():
                    return
                news = self._deployment.follow(cursor)  # it finds the scaler that takes the place of this one
            except HermesError as error:
                self._failure = error
            except Exception as error:
                log.exception("the scaler cannot be asked")
                self._failure = OperationFailed(
                    f"the cluster does not answer any more: {type(error).__name__}: {error}"
                )
            else:
                cursor, self.result = (cursor, None) if news is None else (news["cursor"], news["result"])
            if self._failure is not None or self.result is not None:
                self._answered.set()
            if self._failure is not None:
                return

    def _look(self) -> None:
        try:
            status = self._deployment.status()
        except OperationFailed as error:
            log.warning("no status: %s", error)
            return
        self.record.add(status, time.time())
        self._answered.set()
