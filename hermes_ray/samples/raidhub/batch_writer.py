"""Database writes for an async handler: one thread commits what all its slots hand in, many at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Generic, TypeVar

from hermes_ray.samples.raidhub.database import Database, Transaction

__all__ = ["BatchWriter"]

BATCH_MAX_COUNT = 256

T = TypeVar("T")
_Job = tuple[T, "Future[None]"]


class BatchWriter(Generic[T]):
    """Hands items to ``write(transaction, items)`` in a thread of its own; owns ``database`` and closes it.

    While one commit runs the next batch gathers: the event loop never waits for a disk, and 100 slots share one fsync.
    """

    def __init__(self, database: Database, write: Callable[[Transaction, Sequence[T]], None]) -> None:
        self._database = database
        self._write = write
        self._jobs: queue.SimpleQueue[_Job[T] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="raidhub writer", daemon=True)
        self._thread.start()

    def submit(self, item: T) -> Future[None]:
        """Never blocks. The future is done once the item is committed, or carries why it could not be."""
        done: Future[None] = Future()
        self._jobs.put((item, done))
        return done

    def close(self) -> None:
        """Commit what was submitted, then close the database. Submit nothing afterwards."""
        self._jobs.put(None)
        self._thread.join()
        self._database.close()

    def _run(self) -> None:
        closing = False
        while not closing:
            jobs = [self._jobs.get()]
            with suppress(queue.Empty):
                while len(jobs) < BATCH_MAX_COUNT:
                    jobs.append(self._jobs.get_nowait())
            closing = jobs[-1] is None
            self._commit([job for job in jobs if job is not None])

    def _commit(self, batch: Sequence[_Job[T]]) -> None:
        live = [(item, done) for item, done in batch if done.set_running_or_notify_cancel()]
        if not live or self._attempt(live, alone=len(live) == 1):
            return
        for one in live:  # one bad item must not fail the others
            self._attempt([one], alone=True)

    def _attempt(self, jobs: Sequence[_Job[T]], *, alone: bool) -> bool:
        try:
            with self._database.transaction() as transaction:
                self._write(transaction, [item for item, _ in jobs])
        except Exception as error:
            if alone:
                jobs[0][1].set_exception(error)
            return alone
        for _, done in jobs:
            done.set_result(None)
        return True
