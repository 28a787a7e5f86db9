"""When Python looks for garbage in cycles: seldom for handlers that make none, in time for those that make much.

A delivery makes no cycles, so that the usual collections only cost time; but a few objects of a handler's may hold
megabytes in a cycle, and no count of objects shows that. What shows it is the memory of the process.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["spare_the_collector", "watch_memory"]

_LOOK_EVERY_S = 0.05  # a look takes 10 µs
_MOST_GROWTH_BYTES = 128 * 2**20
_MOST_GROWTH_RATIO = 0.25  # of what a collection has left: where it is in use, to look through it again is in vain
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MEMORY = Path("/proc/self/statm")


def spare_the_collector() -> None:
    """Freeze what is loaded and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def watch_memory() -> None:
    """Collect whenever the process has grown by 128 MB, or a quarter, since it was last looked through; from a thread.

    600 messages with 5 MB in a cycle each, as fast as four threads make them: 1.1 GB instead of 2.9. Does nothing where
    the system does not tell how large a process is.
    """
    if _MEMORY.exists():
        threading.Thread(target=_watch, args=(_resident_bytes, time.sleep), name="memory", daemon=True).start()


def _resident_bytes() -> int:
    return int(_MEMORY.read_bytes().split()[1]) * _PAGE_BYTES


def _watch(resident_bytes: Callable[[], int], sleep: Callable[[float], object]) -> None:
    after = resident_bytes()
    while True:
        sleep(_LOOK_EVERY_S)
        try:
            now = resident_bytes()
        except OSError:  # a moment in which a handler has all the files that the process may open
            continue
        after = min(after, now)
        if now - after > max(_MOST_GROWTH_BYTES, _MOST_GROWTH_RATIO * after):
            gc.collect()
            after = now  # at most, and soon less
