"""The demo in a session of its own, so that everything it started can be ended, whoever has adopted it (Linux).

A session stays with a process whatever becomes of its parent; only a process that makes one of its own leaves it. Of
all that the demo starts only Erlang's helpers do, and they end with the node they serve. Ray ends what it started, but
some of its processes notice it seconds later, and a start that is interrupted knows its children only in part.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

__all__ = ["end_session", "end_with_parent", "members_of", "run_apart"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TIMEOUT_S = 5.0
CLEAN_UP_S = 5.0
LOOK_S = 0.02
STDIN = 0


def run_apart(command: Sequence[str]) -> tuple[int, bool]:
    """Run ``command`` in a session of its own, then end what is left of it; its exit code, and whether a signal came.

    The terminal's Ctrl-C reaches this process alone. A signal is handed on as SIGTERM, of which a Python that is not
    yet prepared for one dies without a word; one within 5 s of that is not, because the command cleans up then, and Ray
    as it ends makes SIGTERM deadly again. The command's standard input ends with this process: see ``end_with_parent``.
    """
    signalled = False
    child: subprocess.Popen[bytes] | None = None
    quiet_until_s = 0.0

    def hand_on(_number: int, _frame: FrameType | None) -> None:
        nonlocal signalled, quiet_until_s
        signalled = True
        if child is not None and time.monotonic() >= quiet_until_s:
            quiet_until_s = time.monotonic() + CLEAN_UP_S
            child.send_signal(signal.SIGTERM)

    for number in SIGNALS:
        signal.signal(number, hand_on)
    child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    if signalled:
        child.terminate()
    os.waitid(
        os.P_PID, child.pid, os.WEXITED | os.WNOWAIT
    )  # not reaped yet: its pid, the session's name, is not reused
    for number in SIGNALS:  # a second Ctrl-C from here on would leave processes of the session running
        signal.signal(number, signal.SIG_IGN)
    end_session(child.pid)
    return child.wait(), signalled


def end_with_parent() -> None:
    """From now on, SIGTERM for this process when the one that started it by ``run_apart`` ends, however it ends."""

    def wait() -> None:
        os.read(STDIN, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def end_session(session: int) -> None:
    """SIGKILL every process of ``session`` until there is none (Linux; elsewhere nothing is done)."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while (living := members_of(session, _sessions())) and time.monotonic() < deadline_s:
        for pid in living:
            _kill(pid, session)
        time.sleep(LOOK_S)


def members_of(session: int, sessions: Mapping[int, int]) -> set[int]:
    """Who is in ``session``; ``sessions`` maps a process to its own. Of {2: 1, 3: 1, 5: 5} in 1: {2, 3}."""
    return {pid for pid, own in sessions.items() if own == session}


def _kill(pid: int, session: int) -> None:
    """SIGKILL the process if it is still the one of that session: a pid may have gone to a stranger meanwhile."""
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if os.getsid(pid) == session:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def _sessions() -> dict[int, int]:
    """The session of each process that lives; zombies have ended."""
    sessions = {}
    for directory in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):  # it has ended
            state, _parent, _group, session = (directory / "stat").read_text().rpartition(")")[2].split()[:4]
            if state not in "ZX":
                sessions[int(directory.name)] = int(session)
    return sessions
