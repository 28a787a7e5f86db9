"""``make demo`` from start to end, and interrupted: what it says, writes and leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE, deadline_s

pytestmark = pytest.mark.slow

KEYS = ["published", "handled", "distinct", "lost", "duplicated", "retried", "dead_lettered", "seconds", "topics"]
Process = tuple[int, str]  # a pid and when it started: pids come back


class Family:
    """The demo as a child, and every process that ever descended from it."""

    def __init__(self, directory: Path) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "hermes_ray.demo"],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._seen: dict[int, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def wait_for(self, words: str) -> None:
        """Read its output up to a line with these words."""
        assert self.child.stdout is not None
        said = []
        for line in self.child.stdout:
            if words in line:
                return
            said.append(line)
        pytest.fail(f"the demo ended without saying {words!r}: {''.join(said)}")

    def living(self) -> set[int]:
        now = dict(_processes())
        return {pid for pid, started in self._seen.items() if pid in now and now[pid][1] == started}

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for pid in self.living() | ({self.child.pid} if self.child.poll() is None else set()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.child.communicate()

    def _follow(self) -> None:
        while not self._over.wait(0.1):
            now = dict(_processes())
            for pid in descendants_of(self.child.pid, {pid: parent for pid, (parent, _) in now.items()}):
                self._seen[pid] = now[pid][1]


def _processes() -> Iterator[tuple[int, Process]]:
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                yield int(directory.name), (int(fields[1]), fields[19])


def descendants_of(root: int, parents: Mapping[int, int]) -> set[int]:
    """Who descends from ``root``; ``parents`` maps a process to its parent. Of {2: 1, 3: 2, 5: 4} from 1: {2, 3}."""
    found: set[int] = set()
    grown = {pid for pid, parent in parents.items() if parent == root}
    while grown:
        found |= grown
        grown = {pid for pid, parent in parents.items() if parent in grown} - found
    return found


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    demo = Family(tmp_path)
    yield demo
    demo.close()


@pytest.mark.timeout(660)
def test_the_demo_loses_nothing_drains_and_tells_so(family: Family, tmp_path: Path) -> None:
    said, _ = family.child.communicate(timeout=600)  # two minutes on a machine at rest
    assert family.child.returncode == 0, said
    summary = json.loads((tmp_path / "out" / "demo" / "summary.json").read_text())
    assert list(summary) == KEYS
    assert summary["lost"] == 0
    assert summary["published"] == summary["distinct"] > 5_000
    assert summary["topics"]["player_crawl"]["peak_workers"] > 1
    assert (tmp_path / "out" / "demo" / "timeline.png").stat().st_size > 20_000
    assert not family.living()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "pause_s"),
    [("", 1.5), ("a private RabbitMQ", 0.0), ("a private RabbitMQ", 2.0), ("the scaler", 0.2), ("0 s  load", 1.0)],
    ids=["broker-starts", "ray-begins", "ray-starts", "workers-start", "load"],
)
def test_an_interrupted_demo_ends_at_once_and_leaves_no_process(
    family: Family, words: str, pause_s: float, number: signal.Signals
) -> None:
    if words:
        family.wait_for(words)
    time.sleep(pause_s)  # any moment will do
    family.child.send_signal(number)
    said, _ = family.child.communicate(timeout=PATIENCE * 180)  # a Ray that begins is waited for: 3 to 5 s at rest
    assert family.child.returncode == 130, said
    assert "Traceback" not in said
    assert not family.living()


def test_a_demo_that_is_killed_outright_ends_what_it_started(family: Family) -> None:
    family.wait_for("0 s  load")
    family.child.kill()
    give_up_s = deadline_s(20)
    while family.living() and time.monotonic() < give_up_s:
        time.sleep(0.1)
    assert not family.living()
