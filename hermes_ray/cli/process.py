"""The process of a command: its standard error, and its end."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from threading import Event

from hermes_ray.logs import flush

__all__ = ["end_where_handlers_were", "expect_handlers", "hold_standard_error"]

STDERR = 2

_handlers_are_here = Event()


def hold_standard_error() -> None:
    """Where it is closed, have it lead nowhere: the next file opened would take its number, and what is said there."""
    try:
        os.fstat(STDERR)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != STDERR:
            os.dup2(nowhere, STDERR)
            os.close(nowhere)


def expect_handlers() -> None:
    """Say that from now on a handler's code may run in this process."""
    _handlers_are_here.set()


def end_where_handlers_were(code: object) -> None:
    """End at once with ``code``, as ``sys.exit`` takes it, if a handler's code may have run here; else return.

    As workers end: Python would wait for threads that a handler has left at work, for ever if they hang. The processes
    of its pools end with it, as Python would have them: they hold open what this one's output leads to.
    """
    if not _handlers_are_here.is_set():
        return
    from multiprocessing import active_children

    flush()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, by a handler or from the beginning
            stream.flush()
    for child in active_children():
        child.kill()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)
