"""The log of threads that carry everybody: what a user has it go to may raise or hang, and only a log line is late.

A filter that reads a field which only its own records have raises in whoever logs; a handler that hangs holds its lock.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

__all__ = ["Log", "flush"]

MOST_WAITING = 1_000
FLUSH_S = 1.0  # of the end of a process
_OF_CALLER = ("created", "msecs", "relativeCreated", "thread", "threadName", "taskName")  # the last from 3.12 on


class Log:
    """Logs as ``logging.getLogger(name)`` does, from a thread that is there for it: never raises, never waits."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, text: str, *args: object) -> None:
        self._hand_over(logging.DEBUG, text, args)

    def info(self, text: str, *args: object) -> None:
        self._hand_over(logging.INFO, text, args)

    def warning(self, text: str, *args: object) -> None:
        self._hand_over(logging.WARNING, text, args)

    def error(self, text: str, *args: object) -> None:
        self._hand_over(logging.ERROR, text, args)

    def exception(self, text: str, *args: object) -> None:
        """An error with the traceback of what is being handled."""
        self._hand_over(logging.ERROR, text, args, sys.exc_info())

    def _hand_over(self, level: int, text: str, args: tuple[object, ...], error: Any = None) -> None:
        caller = sys._getframe(2)
        code = caller.f_code
        parts = (self._name, level, code.co_filename, caller.f_lineno, text, args, error, code.co_name)
        _lines.put(partial(_emit, parts, logging.LogRecord(*parts)))


def flush(within_s: float = FLUSH_S) -> None:
    """Return once every line so far is where it goes, or after ``within_s``."""
    _lines.flush(within_s)


def _emit(parts: tuple[Any, ...], at_call: logging.LogRecord) -> None:
    logger = logging.getLogger(at_call.name)
    if logger.isEnabledFor(at_call.levelno):
        record = logger.makeRecord(*parts)  # here: a factory may be the user's own
        for name in _OF_CALLER:
            setattr(record, name, getattr(at_call, name, None))
        logger.handle(record)


class _Lines:
    """What is to be logged, in order, and the thread that does it from the first line on."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """With nothing, and without the thread, which a forked child does not have."""
        self._waiting: SimpleQueue[Callable[[], object]] = SimpleQueue()  # its put takes no lock
        self._dropped_count = 0
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def put(self, line: Callable[[], object]) -> None:
        """Have ``line`` called, unless too many wait: the next one says how many are missing."""
        if self._waiting.qsize() >= MOST_WAITING:
            self._dropped_count += 1
            return
        if self._dropped_count:
            count, self._dropped_count = self._dropped_count, 0
            said = "%d lines are missing here: those before them could not be written in time"
            self._waiting.put(partial(logging.getLogger(__name__).warning, said, count))
        self._waiting.put(line)
        if self._thread is None:
            self._start()

    def flush(self, within_s: float) -> None:
        """Wait for what was put before."""
        if self._thread is not None:
            done = threading.Event()
            self._waiting.put(done.set)
            done.wait(within_s)

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return  # another thread is at it
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._call_for_ever, name="log", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:  # at the limit of threads: the next line tries again
            pass
        finally:
            self._starting.release()

    def _call_for_ever(self) -> None:
        while True:
            with suppress(BaseException):
                self._waiting.get()()


_lines = _Lines()
atexit.register(flush)
os.register_at_fork(after_in_child=_lines.begin)
