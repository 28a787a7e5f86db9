"""The processes of a client: what CPU all of them took, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["cpu_s", "end"]

_TICKS_HZ = os.sysconf("SC_CLK_TCK")
_END_S = 15.0


def cpu_s(pid: int) -> float:
    """CPU time of ``pid`` and all that descend from it, those that have ended and been waited for too."""
    ticks = 0
    for each in _tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / _TICKS_HZ


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="utf-8").split():
            yield from _tree(int(child))


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, then end all of its session."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
