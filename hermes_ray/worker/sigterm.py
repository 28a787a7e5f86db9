"""SIGTERM drains a worker, and ends a child that one of its handlers has forked."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

__all__ = ["on_sigterm"]


def on_sigterm(drain: Callable[[], None]) -> Callable[[], object]:
    """Call ``drain`` in a thread on the first SIGTERM to this process; for the main thread.

    Returns what sees to that once more: an event loop with signal handlers that has run in this thread leaves none.

    Python runs signal handlers in the main thread between bytecodes, and Ray's sits in C++ between calls: the byte that
    the C handler writes to the wake-up descriptor arrives at once.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)

    def wait() -> None:
        while signal.SIGTERM not in os.read(readable, 16):
            pass
        drain()

    def see_to_it() -> None:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # a handler of the user's own stays
            signal.signal(signal.SIGTERM, _leave_to_thread)
        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)

    signal.signal(signal.SIGTERM, _leave_to_thread)
    see_to_it()
    _let_children_end([readable, writable])
    threading.Thread(target=wait, name="SIGTERM", daemon=True).start()
    return see_to_it


def _leave_to_thread(_number: int, _frame: object) -> None:
    return None


def _let_children_end(pipe: list[int]) -> None:
    """A child that is forked has the pipe, and no thread: SIGTERM would not end it, and drain the worker.

    Until that is put right in the child it is blocked, for one that is ended as soon as it is there.
    """
    held = threading.local()

    def hold() -> None:
        held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, held.mask)

    def put_right() -> None:
        if pipe:  # else this is a child's child
            signal.set_wakeup_fd(-1)
            if signal.getsignal(signal.SIGTERM) is _leave_to_thread:  # no handler of the user's own
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            while pipe:
                os.close(pipe.pop())
        release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=put_right)
