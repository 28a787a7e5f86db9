"""Garbage in cycles is collected in time, whatever it weighs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hermes_ray.worker import collector

SCRIPT = """
import resource, threading
from hermes_ray.worker.collector import spare_the_collector, watch_memory

class Node:
    pass

def handle():
    node = Node()
    node.itself, node.payload = node, bytearray(5_000_000)

spare_the_collector()
watch_memory()
threads = [threading.Thread(target=lambda: [handle() for _ in range(150)]) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_handlers_with_megabytes_in_cycles_grow_a_worker_by_a_part_of_what_they_leave() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=100, check=True)
    assert int(said.stdout) < 1_500_000_000, "600 messages of 5 MB"


def test_memory_that_is_in_use_is_not_looked_through_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    sizes = iter([*range(2 * 10**9, 4 * 10**9, 10**7)])
    monkeypatch.setattr("gc.collect", lambda: looks.append(1))
    with pytest.raises(StopIteration):
        collector._watch(lambda: next(sizes), lambda _seconds: None)
    assert 2 <= len(looks) <= 4, "from 2 to 4 GB"
