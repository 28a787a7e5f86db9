"""A deployment asked from outside, on a scaler that is a fake."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from ray.exceptions import RayActorError

from hermes_ray.cluster import client as module
from hermes_ray.cluster.client import AWAY_S, Deployment
from hermes_ray.cluster.orphans import forget_overrides
from hermes_ray.core.model import Override
from hermes_ray.errors import OperationFailed
from hermes_ray.scaler.checkpoint import Checkpoint, checkpoint_path
from tests.support.fleet_scene import config
from tests.support.memories import filled, whole


class Answers:
    """Methods of a scaler that answer what ``says`` has for them, as a task that ``ray.get`` calls."""

    def __init__(self, says: dict[str, Any]) -> None:
        self._says = says

    def __getattr__(self, method: str) -> Any:
        answer = self._says[method]

        def called(*arguments: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer(*arguments) if callable(answer) else answer

        return SimpleNamespace(remote=lambda *arguments: lambda: called(*arguments))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of a client whose scaler is a fake, and whose Ray only hands over answers."""
    now = SimpleNamespace(s=1_000.0)
    monkeypatch.setattr(module, "ray", MagicMock(get=lambda task, timeout: task()))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.s))
    monkeypatch.setattr(module, "find_scaler", lambda _name: None)
    return now


@pytest.mark.usefixtures("now")
def test_decisions_of_all_topics_come_in_the_order_of_their_times() -> None:
    recent = {"a": [{"at": 1.0}, {"at": 5.0}], "b": [{"at": 2.0}, {"at": 4.0}]}
    scaler = Answers({"status": {"topics": recent}, "decisions": lambda topic: {"recent": recent[topic]}})
    assert [row["at"] for row in Deployment("hermes", scaler).decisions(2.0)] == [2.0, 4.0, 5.0]


def test_a_scaler_that_is_away_is_waited_for_as_long_as_ray_takes_and_anew_each_time(now: SimpleNamespace) -> None:
    says: dict[str, Any] = {"follow": RayActorError()}
    deployment = Deployment("hermes", Answers(says))
    for _ in range(2):
        assert deployment.follow(0) is None
        now.s += AWAY_S
        assert deployment.follow(0) is None
        says["follow"] = {"lines": []}
        assert deployment.follow(0) == {"lines": []}
        says["follow"] = RayActorError()
    assert deployment.follow(0) is None
    now.s += AWAY_S + 1.0
    with pytest.raises(OperationFailed, match="the scaler of hermes is gone"):
        deployment.follow(0)


def test_what_a_scaler_that_is_gone_has_left_keeps_its_counts_and_loses_pauses_and_pins(tmp_path: Path) -> None:
    made = config(f"state_dir={tmp_path}")
    path = checkpoint_path(made.state_dir, made.broker.urls, made.deployment.name)
    before, store = filled(), Checkpoint(path)
    store.write(whole(before))
    store.close()
    forget_overrides(made)
    memory = Checkpoint(path).read()
    assert memory is not None
    assert {past.override for past in memory.topics.values()} == {Override()}
    assert memory.topics["heavy"].counters == before.topics["heavy"].counters
    assert {past.policy for past in memory.learnt.values()} == {None}


def test_where_a_scaler_has_left_nothing_there_is_nothing_to_forget(tmp_path: Path) -> None:
    made = config(f"state_dir={tmp_path}")
    forget_overrides(made)
    path = checkpoint_path(made.state_dir, made.broker.urls, made.deployment.name)
    assert Checkpoint(path).read() is None
