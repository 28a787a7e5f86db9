from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hermes_ray.worker.standstill import LEAST_S, Standstill

STOPPED_S = 3.5


@contextmanager
def handling(*words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.support.stood_still", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def took_s(process: subprocess.Popen[str]) -> tuple[float, ...]:
    assert process.stdout is not None
    return tuple(map(float, process.stdout.readline().split()))


def test_a_message_took_no_time_while_its_process_was_stopped() -> None:
    with handling("thread") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        os.kill(process.pid, signal.SIGSTOP)
        stopped_s = time.monotonic()
        while time.monotonic() - stopped_s < STOPPED_S:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGCONT)
        finished_s, busy_s = took_s(process)
    # The wait that a stop interrupts may end up to a piece after the stop began.
    assert 0.0 < finished_s < STOPPED_S - LEAST_S
    assert busy_s == finished_s


def test_a_handler_that_keeps_the_interpreter_from_everybody_is_at_work() -> None:
    with handling("loop", "lock") as process:
        finished_s, busy_s = took_s(process)
    assert finished_s == busy_s >= 2.5


def test_of_a_standstill_only_what_lies_in_a_message_is_no_work_of_it() -> None:
    standstill = Standstill()
    standstill._found.extend([(10.0, 20.0), (30.0, 31.0)])
    assert standstill.within_s(5.0) == 11.0
    assert standstill.within_s(18.0) == 3.0
    assert standstill.within_s(40.0) == 0.0


def test_an_event_ends_the_wait_and_is_no_standstill() -> None:
    standstill, event = Standstill(), threading.Event()
    threading.Timer(0.05, event.set).start()
    began_s = time.monotonic()
    standstill.wait(event, 60.0)
    assert event.is_set()
    assert time.monotonic() - began_s < 30.0
    standstill.wait(event, 60.0)
    assert standstill.within_s(0.0) == 0.0
