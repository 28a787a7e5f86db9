"""Whatever runs apart is gone when it ends: orphans too, also when a signal or a kill -9 ended it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE, deadline_s

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sessions are looked up in /proc")

# A child that outlives its parent, as Ray's and Erlang's processes may.
LEAVES_AN_ORPHAN = """
import subprocess, sys
middle = "import subprocess; print(subprocess.Popen(['sleep', '600'], stdout=-3, stderr=-3).pid)"
print(subprocess.run([sys.executable, "-c", middle], capture_output=True, text=True).stdout.strip(), flush=True)
"""
OUTSIDE = """
import sys
from hermes_ray.demo.children import run_apart
code, signalled = run_apart([sys.executable, "-c", sys.argv[1]])
print("ended", code, signalled, flush=True)
"""
INSIDE = (
    """
import signal, time
from hermes_ray.demo.children import end_with_parent
end_with_parent()
"""
    + LEAVES_AN_ORPHAN
    + """
while True:
    time.sleep(600)
"""
)


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def outside() -> tuple[subprocess.Popen[str], int]:
    """A process with another one apart, and the pid of the orphan that this one has left."""
    child = subprocess.Popen([sys.executable, "-c", OUTSIDE, INSIDE], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    orphan = int(child.stdout.readline())
    assert lives(orphan)
    return child, orphan


def test_an_orphan_is_ended_with_what_ran_apart(tmp_path: Path) -> None:
    script = f"{LEAVES_AN_ORPHAN}\nsys.exit(3)"
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE, script], capture_output=True, text=True, timeout=60, check=True
    )
    orphan, ended = done.stdout.splitlines()
    assert ended == "ended 3 False"
    assert not lives(int(orphan))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_handed_on_and_nothing_is_left(number: signal.Signals) -> None:
    child, orphan = outside()
    child.send_signal(number)
    assert child.communicate(timeout=PATIENCE * 60)[0] == f"ended {-signal.SIGTERM} True\n"
    assert not lives(orphan)


def test_a_second_signal_does_not_cut_the_cleaning_up_short() -> None:
    script = """
import os, signal, sys, time
def clean_up(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(0.5)  # in which a signal that is handed on would end this
    sys.exit(7)
signal.signal(signal.SIGTERM, clean_up)
os.kill(os.getppid(), signal.SIGINT)
time.sleep(600)
"""
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE, script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "ended 7 True\n"


def test_what_runs_apart_ends_when_the_process_outside_is_killed_outright() -> None:
    child, orphan = outside()
    inside = int(Path(f"/proc/{orphan}/stat").read_text().rpartition(")")[2].split()[3])  # the session bears its pid
    child.kill()
    child.communicate()
    give_up_s = deadline_s(10)
    while lives(inside) and time.monotonic() < give_up_s:
        time.sleep(0.02)
    assert not lives(inside)
    os.kill(orphan, signal.SIGKILL)  # nobody is left to end it; Ray and the broker end theirs themselves


def test_what_runs_apart_has_a_session_of_its_own_which_the_terminal_does_not_signal() -> None:
    script = "import os; print(os.getsid(0) == os.getpid())"
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE, script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "True\nended 0 False\n"
