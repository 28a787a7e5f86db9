"""A child that a handler has forked has a copy of its slot: it ends where it would go on as that.

It would handle what its parent has at hand, and never end. One that ends by ``os._exit``, as those of multiprocessing
and ``ProcessPoolExecutor`` do, never comes here.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn
from weakref import WeakSet

from hermes_ray.worker.handlers import Handler

__all__ = ["FORKED", "are_here", "leave", "watch"]

FORKED: list[None] = []
"""Empty but in a child; to be looked at as it is where a handler has returned or raised: a call would cost more."""

_LOOPS: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


def are_here() -> None:
    """Slots begin in this process: whose child it may be, they are its own."""
    FORKED.clear()


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """A child that goes back to ``loop``, as one that waits for something or was forked by a task, ends there."""
    _LOOPS.add(loop)


def leave(handler: Handler, error: BaseException | None = None) -> NoReturn:
    """End this child as Python ends a program that has returned, or raised ``error``; for where ``FORKED`` is true."""
    code: Any = 0 if error is None else 1
    said = ""
    with suppress(BaseException):  # whatever cannot be told, the child ends
        if isinstance(error, SystemExit):
            code = error.code or 0
        elif error is not None:
            said = handler.trace_of(error)
        if not isinstance(code, int):
            code, said = 1, handler.shown(f"{code}\n")
    _end(code, said)


def _end(code: int, said: str) -> NoReturn:
    try:
        for stream, text in (sys.stdout, ""), (sys.stderr, said):
            with suppress(Exception):
                stream.write(text)
                stream.flush()
    finally:
        os._exit(code & 0xFF)


def _mark_child() -> None:
    FORKED.append(None)
    for loop in _LOOPS:
        with suppress(Exception):  # of a loop that is not asyncio's own: it ends a little later
            loop.call_soon(_end, 1, "a forked child cannot go on in the handlers' event loop, which is its parent's\n")
            loop._ready.rotate(1)  # type: ignore[attr-defined]  # before what is of other messages


os.register_at_fork(after_in_child=_mark_child)
