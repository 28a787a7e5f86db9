"""``hermes serve``, ``apply`` and ``stop`` on a deployment that is a fake: what they wait for, print and order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from hermes_ray.cli import serve as module
from hermes_ray.deploy.apply import Applied
from hermes_ray.errors import OperationFailed
from tests.support.statuses import pinned, state, status_of

TOPIC = "topics.orders.handler=m:f"
END = {"result": {"drained": 3, "killed": 0}, "stopping": True}
UP = state()


def news(cursor: int, *lines: str, **said: Any) -> dict[str, Any]:
    """What ``Deployment.follow`` answers."""
    return {"lines": list(lines), "cursor": cursor, "superseded_by": None, "stopping": False, "result": None} | said


class FakeDeployment:
    """Gives ``answers`` to ``follow`` and ``states`` of its topic one after the other, the last one again and again."""

    name = "hermes"

    def __init__(self, *answers: dict[str, Any] | None, states: tuple[dict[str, Any], ...] = (UP,)) -> None:
        self.answers, self.states = list(answers or [news(0)]), list(states)
        self.cursors: list[int] = []
        self.orders: list[bool] = []
        self.refusals: list[OperationFailed] = []
        self.status_count = 0

    def follow(self, cursor: int, driver: str | None = None) -> dict[str, Any] | None:
        self.cursors.append(cursor)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def status(self) -> dict[str, Any]:
        self.status_count += 1
        return status_of({"orders": self.states.pop(0) if len(self.states) > 1 else self.states[0]}, others=[])

    def stop(self, kill: bool = False) -> float:
        if self.refusals:
            raise self.refusals.pop()
        self.orders.append(kill)
        return 30.0

    def wait_gone(self) -> bool:
        return True


Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command on a fake deployment, without pauses."""

    def put(deployment: FakeDeployment, command: Callable[[list[str]], int], *words: str) -> int:
        monkeypatch.setattr(
            module, "apply", lambda config, *_, **__: Applied(deployment=deployment, config=config, changes=[])  # type: ignore[arg-type]
        )  # fmt: skip
        monkeypatch.setattr(module, "Deployment", SimpleNamespace(running=lambda _name: deployment))
        return command([TOPIC, *words])

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for name in ("join_running_cluster", "join_cluster", "reach_broker"):
        monkeypatch.setattr(module, name, lambda *_: True)
    monkeypatch.setattr(module, "POLL_S", 0.0)
    monkeypatch.setattr(module, "DETACH_WAIT_S", 5.0)
    yield put
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("words", "waiting"),
    [
        ((), state(depth=None)),
        ((), state(workers={"observed": 0, "target": None})),
        ((), state(workers={"observed": 0, "target": 3})),
        (("topics.orders.workers.min=1",), state(workers={"observed": 0, "target": 0})),
    ],
)
def test_a_topic_is_up_once_its_depth_is_known_and_who_is_wanted_is_there(
    run: Run, words: tuple[str, ...], waiting: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = FakeDeployment(states=(UP, waiting, waiting, UP))  # the first is for what the apply prints
    assert run(deployment, module.serve_detached, *words) == 0
    assert deployment.status_count == 4
    assert "deployment hermes is up and stays" in capsys.readouterr().out


@pytest.mark.parametrize("why", [{"override": pinned(0)}, {"conditions": ["capacity_exhausted"]}])
def test_a_topic_of_which_nobody_may_come_is_not_waited_for(run: Run, why: dict[str, Any]) -> None:
    nobody = state(workers={"observed": 0, "target": 0}, **why)
    deployment = FakeDeployment(states=(UP, nobody))
    assert run(deployment, module.serve_detached, "topics.orders.workers.min=1") == 0


def test_the_lines_of_a_scaler_that_was_restarted_are_read_from_its_first(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINE_EVERY_S", 0.0)
    restarted = [news(1), news(1, "a new one")]
    deployment = FakeDeployment(news(5, "old ones"), None, *restarted, news(1, **END))
    assert run(deployment, module.serve) == 0
    assert deployment.cursors == [0, 5, 5, 0, 1]
    said = capsys.readouterr().out
    assert said.index("old ones") < said.index("a new one") < said.index("stopped: every worker drained")


def test_a_stop_order_is_given_again_to_a_scaler_that_does_not_know_of_it(run: Run) -> None:
    known = news(0, stopping=True)
    deployment = FakeDeployment(news(0), news(0), known, news(0), known, news(0, **END))
    deployment.refusals = [OperationFailed("the scaler of hermes is gone")]
    assert run(deployment, module.stop) == 0
    assert deployment.orders == [False, False]


def test_one_signal_before_stop_has_said_a_word_kills_nobody(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = FakeDeployment(news(0), news(0), news(0, stopping=True), news(0, **END))
    follow = deployment.follow

    def interrupted(cursor: int, driver: str | None = None) -> dict[str, Any] | None:
        if not deployment.orders:
            signal.raise_signal(signal.SIGINT)
        return follow(cursor, driver)

    monkeypatch.setattr(deployment, "follow", interrupted)
    assert run(deployment, module.stop) == 0
    assert deployment.orders == [False]


def test_whoever_has_ordered_nothing_may_leave_a_scaler_that_does_not_answer(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = FakeDeployment(news(0), None)
    follow = deployment.follow

    def interrupted(cursor: int, driver: str | None = None) -> dict[str, Any] | None:
        if len(deployment.cursors) == 3:
            signal.raise_signal(signal.SIGINT)
        return follow(cursor, driver)

    monkeypatch.setattr(deployment, "follow", interrupted)
    assert run(deployment, module.stop) == 130
    assert deployment.orders == []
    assert capsys.readouterr().out.splitlines() == [
        "the scaler of hermes does not answer: waiting for it, or for another",
        "interrupted: nothing was ordered",
    ]


def test_a_signal_after_stop_has_said_so_kills(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = FakeDeployment(news(0), news(0), news(0, stopping=True), news(0, **END))
    follow = deployment.follow

    def interrupted(cursor: int, driver: str | None = None) -> dict[str, Any] | None:
        if deployment.orders == [False]:
            signal.raise_signal(signal.SIGINT)
        return follow(cursor, driver)

    monkeypatch.setattr(deployment, "follow", interrupted)
    assert run(deployment, module.stop) == 130
    assert deployment.orders == [False, True]


def test_without_a_terminal_lines_of_two_seconds_are_one(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(s=1_000.0)

    def sleep(_pause_s: float) -> None:
        now.s += 1.0

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.s, time=lambda: now.s, sleep=sleep))
    deployment = FakeDeployment(news(1, "a"), news(2, "b"), news(3, "c"), news(4, "d", **END))
    assert run(deployment, module.serve) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["a | b | c", "d | stopped: every worker drained"]
