"""Ending everything that this process started, grandchildren and orphans included (Linux; elsewhere nothing is done).

Ray ends what it started, but some of its processes notice it seconds later, and a start that is interrupted knows its
children only in part.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

__all__ = ["adopt_orphans", "descendants_of", "end_descendants"]

PR_SET_CHILD_SUBREAPER = 36
TIMEOUT_S = 5.0


def adopt_orphans() -> None:
    """From now on a descendant whose parent ends becomes a child of this process, and so stays a descendant."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants() -> None:
    """SIGKILL every descendant until there is none; for the end of a process, which must not wait for them any more."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while (living := descendants_of(os.getpid(), _parents())) and time.monotonic() < deadline_s:
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def descendants_of(root: int, parents: Mapping[int, int]) -> set[int]:
    """Who descends from ``root``; ``parents`` maps a process to its parent. Of {2: 1, 3: 2, 5: 4} from 1: {2, 3}."""
    found: set[int] = set()
    grown = {pid for pid, parent in parents.items() if parent == root}
    while grown:
        found |= grown
        grown = {pid for pid, parent in parents.items() if parent in grown} - found
    return found


def _parents() -> dict[int, int]:
    """The parent of each process that lives; zombies have ended."""
    parents = {}
    for directory in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):  # it has ended
            state, parent = (directory / "stat").read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                parents[int(directory.name)] = int(parent)
    return parents
