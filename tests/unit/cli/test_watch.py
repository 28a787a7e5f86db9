"""``hermes status --watch`` on a deployment that is a fake: what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from hermes_ray.cli import watch as module
from hermes_ray.cli.main import cli
from hermes_ray.cli.record import Recording
from hermes_ray.cli.watcher import Watcher
from hermes_ray.errors import OperationFailed
from tests.support.patience import PATIENCE, deadline_s
from tests.support.statuses import state, status_of

Answer = dict[str, Any] | Exception


class FakeDeployment:
    """Gives ``answers`` one after the other, then its last words; what is an error is raised."""

    name = "hermes"

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked = 0

    def status(self) -> dict[str, Any]:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def follow(self, cursor: int, driver: str | None = None) -> dict[str, Any] | None:
        return {"cursor": cursor, "result": None if self.answers else {"drained": 3, "killed": 0}}


AWAY = OperationFailed("the scaler of hermes is gone")


def orders(depth: int, **head: Any) -> dict[str, Any]:
    return status_of({"orders": state(depth=depth)}, **head)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[FakeDeployment], None]]:
    """Puts a fake where the deployment is looked for."""
    monkeypatch.setattr(module, "EVERY_S", 0.01)

    def put(deployment: FakeDeployment) -> None:
        monkeypatch.setattr(module, "reach", lambda _words: deployment)

    handler = signal.getsignal(signal.SIGTERM)
    yield put
    signal.signal(signal.SIGTERM, handler)


def test_without_a_terminal_it_prints_a_line_each_time_until_the_deployment_ends(
    watched: Callable[[FakeDeployment], None],
) -> None:
    watched(FakeDeployment(orders(5), orders(6), orders(7)))
    done = CliRunner().invoke(cli, ["status", "--watch"])
    *lines, last = done.output.splitlines()
    assert done.exit_code == 0
    assert last == "deployment hermes has ended"
    assert lines
    assert all("  hermes: orders " in line and "queued, 1 worker, target 3" in line for line in lines)


def test_as_json_each_answer_is_a_line_and_nothing_else_is(watched: Callable[[FakeDeployment], None]) -> None:
    answers = [orders(depth) for depth in range(4)]
    watched(FakeDeployment(answers[0], AWAY, *answers[1:]))
    done = CliRunner().invoke(cli, ["status", "--watch", "--json"])
    said = [json.loads(line) for line in done.output.splitlines()]
    assert done.exit_code == 0
    assert said
    assert all(document in answers for document in said)
    assert [document["topics"]["orders"]["depth"] for document in said] == sorted(
        {document["topics"]["orders"]["depth"] for document in said}
    ), "none is printed twice"


def test_a_restart_and_an_apply_meanwhile_are_survived_and_said(watched: Callable[[FakeDeployment], None]) -> None:
    watched(FakeDeployment(orders(1), AWAY, orders(2, started_at=950.0), *[orders(3, generation=8)] * 3))
    done = CliRunner().invoke(cli, ["status", "--watch"])
    assert done.exit_code == 0
    assert "hermes, a configuration was applied 0 s ago: orders" in done.output


def test_a_scaler_that_stays_away_is_a_sentence_and_exit_code_1(watched: Callable[[FakeDeployment], None]) -> None:
    class Gone(FakeDeployment):
        def follow(self, cursor: int, driver: str | None = None) -> dict[str, Any] | None:
            raise AWAY

    watched(Gone(AWAY))
    done = CliRunner().invoke(cli, ["status", "--watch", "--json"])
    assert (done.exit_code, done.stderr) == (1, "hermes: the scaler of hermes is gone\n")


def test_a_cluster_that_breaks_down_is_a_sentence_too(watched: Callable[[FakeDeployment], None]) -> None:
    watched(FakeDeployment(RuntimeError("no GCS")))
    done = CliRunner().invoke(cli, ["status", "--watch"])
    assert done.exit_code == 1
    assert done.stderr == "hermes: the cluster does not answer any more: RuntimeError: no GCS\n"


def test_a_watcher_asks_no_more_once_it_is_left() -> None:
    deployment = FakeDeployment(*[orders(1)] * 100_000)
    with Watcher(deployment, Recording(), 0.001) as watcher:
        assert watcher.wait(5.0)
    asked = deployment.asked
    assert not any(thread.name == "watcher" for thread in threading.enumerate())
    assert deployment.asked == asked


def test_a_watcher_goes_on_in_another_record() -> None:
    with Watcher(FakeDeployment(*[orders(1)] * 100_000), Recording(), 0.001) as watcher:
        assert watcher.wait(5.0)
        watcher.record = fresh = Recording()
        watcher.wait(5.0)
        assert watcher.wait(5.0)
    assert fresh.states["orders"]["depth"] == 1


ON_A_TERMINAL = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
from hermes_ray.cli import watch
from hermes_ray.cli.main import main
from tests.unit.cli.test_watch import FakeDeployment, orders
watch.reach = lambda words: FakeDeployment(*[orders(5)] * 1000)
sys.argv = ["hermes", "status", "--watch"]
main()
"""
SCREEN, BACK = b"\x1b[?1049h", b"\x1b[?1049l"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_it_takes_the_screen_and_gives_it_back(number: signal.Signals) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(theirs)
    try:
        seen = _read_until(ours, b"queued")
        assert SCREEN in seen
        child.send_signal(number)
        assert BACK in _read_until(ours, BACK)
        assert child.wait(PATIENCE * 10) == 0
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def _read_until(terminal: int, words: bytes) -> bytes:
    seen, give_up_s = b"", deadline_s(20)
    while words not in seen and time.monotonic() < give_up_s:
        seen += os.read(terminal, 65_536)
    return seen


IN_A_PIPE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
from hermes_ray.cli import watch
from hermes_ray.cli.main import main
from tests.unit.cli.test_watch import FakeDeployment, orders
watch.reach = lambda words: FakeDeployment(*[orders(5)] * 1000)
sys.argv = ["hermes", "status", "--watch", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_signal_ends_it_with_exit_code_0(number: signal.Signals, words: list[str]) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", IN_A_PIPE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert "orders" in child.stdout.readline()
    child.send_signal(number)
    _, errors = child.communicate(timeout=PATIENCE * 30)
    assert (child.returncode, errors) == (0, "")


SILENT = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
from hermes_ray.cli import watch
from hermes_ray.cli.main import main
from tests.unit.cli.test_watch import FakeDeployment, orders

class Silent(FakeDeployment):
    def follow(self, cursor, driver=None):
        print("silent", file=sys.stderr, flush=True)
        threading.Event().wait()

watch.reach = lambda words: Silent(orders(5), orders(6))
sys.argv = ["hermes", "status", "--watch", "--json"]
main()
"""


def test_a_scaler_that_does_not_answer_keeps_nobody_from_leaving() -> None:
    child = subprocess.Popen([sys.executable, "-c", SILENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stderr is not None
    assert json.loads(child.stdout.readline())["topics"]["orders"]["depth"] == 5
    assert child.stderr.readline() == "silent\n"
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=PATIENCE * 30) == ("", "")
    assert child.returncode == 0
