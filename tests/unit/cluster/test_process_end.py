"""Processes of workers that do not answer are ended, those of others are not."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_ray.cluster.process_end import end_process
from tests.support.ledger import until
from tests.support.patience import PATIENCE


@contextmanager
def named(title: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that calls itself so, and cannot act on anything."""
    process = subprocess.Popen([title, "-c", "input()"], executable=sys.executable, stdin=subprocess.PIPE)
    try:
        line = Path(f"/proc/{process.pid}/cmdline")
        until(lambda: line.read_bytes().startswith(title.encode()), "it shows its name, a moment after its start")
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def stopped() -> Iterator[subprocess.Popen[bytes]]:
    """One called as Ray calls the process of a worker."""
    with named("ray::Worker") as process:
        yield process


def test_a_process_that_cannot_act_is_killed_once_its_time_is_over(stopped: subprocess.Popen[bytes]) -> None:
    assert end_process(stopped.pid, 0.1)
    assert stopped.wait(PATIENCE * 5) == -signal.SIGKILL


def test_a_scaler_that_cannot_act_is_killed_too() -> None:
    with named("ray::Scaler") as process:
        assert end_process(process.pid, 0.1)


def test_one_that_ends_in_time_needs_no_kill(stopped: subprocess.Popen[bytes]) -> None:
    stopped.kill()
    assert not end_process(stopped.pid, 10)


def test_a_process_that_got_the_number_of_a_worker_that_is_gone_lives_on() -> None:
    with named("ray::Other") as process:
        assert not end_process(process.pid, 0.1)
        assert process.poll() is None


def test_a_number_that_nobody_has_is_no_error(stopped: subprocess.Popen[bytes]) -> None:
    stopped.kill()
    stopped.wait(5)
    assert not end_process(stopped.pid, 0.1)
