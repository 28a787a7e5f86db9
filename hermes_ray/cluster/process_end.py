"""Seeing to it that the process of a worker or scaler that does not answer really ends, on whatever node it is.

``ray.kill`` asks the process itself. Ray lists the actor as dead at once, and kills a process that does not act on it
within 5 s; but where the connection to the process has failed meanwhile, as it has 20 s after a SIGSTOP, Ray 2.60 gives
up: the process stays, and what it holds stays with it: unacknowledged messages, the checkpoint, the metrics port. A
scaler that goes on then would decide beside the one that has taken its place.
"""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hermes_ray.worker.worker import Worker

__all__ = ["ProcessEnds", "end_process", "start_ending"]

OTHERS_TIME_S = 7.0  # for Ray to do it: 5 s, and a bit
TITLES = (f"ray::{Worker.__name__}".encode(), b"ray::Scaler")  # of processes; that class's module imports this one
PATIENCE_S = 30.0  # for a node to do as it is asked; one that does not is probably gone


def end_process(pid: int, grace_s: float = OTHERS_TIME_S) -> bool:
    """Kill the process ``pid`` of this machine once ``grace_s`` have passed, if it is one of ours; else leave it alone.

    Returns whether it had to be killed. Linux only: elsewhere nothing is done.
    """
    try:
        process = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return False
    try:
        if not _is_ours(pid) or _has_ended(process, grace_s):
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
        _has_ended(process, OTHERS_TIME_S)
        return True
    except OSError:  # it went meanwhile
        return False
    finally:
        os.close(process)


def start_ending(node_id: str, pid: int) -> Any:
    """Have the node end the process; returns what Ray has the result under."""
    task: Any = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(end_process)
    return task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)).remote(pid)


def _is_ours(pid: int) -> bool:
    """Whether the number has not been given to another process: Ray names ours by their class."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(TITLES)


def _has_ended(process: int, timeout_s: float) -> bool:
    ends = select.poll()
    ends.register(process, select.POLLIN)
    return bool(ends.poll(timeout_s * 1000))


class ProcessEnds:
    """The processes that are being ended; calls return at once."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[Any, float]] = {}  # with when it was asked for

    def begin(self, worker: str, node_id: str, pid: int) -> None:
        """Have the node end the process of ``worker``; asking again does no harm."""
        if worker not in self._tasks:
            self._tasks[worker] = (start_ending(node_id, pid), time.monotonic())

    def pending(self) -> set[str]:
        """The workers whose process may still be there."""
        results = [result for result, _ in self._tasks.values()]
        done = ray.wait(results, num_returns=len(results), timeout=0)[0] if results else []
        too_old_s = time.monotonic() - PATIENCE_S
        self._tasks = {
            worker: (result, since_s)
            for worker, (result, since_s) in self._tasks.items()
            if result not in done and since_s > too_old_s
        }
        return set(self._tasks)
