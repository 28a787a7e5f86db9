"""When a consumer is replaced for what has got stuck, and how much the next one is granted."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hermes_ray.broker import subscription as module
from hermes_ray.broker.stuck import Stuck
from hermes_ray.broker.subscription import Subscription


class FakeBroker:
    """Channel and wire in one; agrees to all at once."""

    def __init__(self) -> None:
        self.is_open = True
        self.consumer_tags: list[str] = []
        self.granted: list[int] = []

    def basic_qos(self, *, prefetch_count: int) -> None:
        self.granted.append(prefetch_count)

    def basic_cancel(self, tag: str, *, callback: Callable[[Any], None]) -> None:
        self.consumer_tags.remove(tag)
        callback(SimpleNamespace())

    def consume(self, *_arguments: Any, **_options: Any) -> str:
        self.consumer_tags.append(str(len(self.granted)))
        return self.consumer_tags[-1]


class Scene:
    """A worker of 4 slots with a prefetch of 100."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        wire: Any = self.broker
        channel: Any = self.broker
        self.in_slots_count = 0
        self.stuck = Stuck("q", lambda _tag: None)
        self.subscription = Subscription(
            wire,
            "q",
            100,
            on_deliveries=lambda _deliveries: None,
            on_consuming=lambda: None,
            between=lambda: None,
            concurrency=4,
            stuck=self.stuck,
            in_slots_count=lambda: self.in_slots_count,
        )
        self.subscription.begin(channel, 1, {})

    def get_stuck(self, count: int) -> None:
        for tag in range(self.stuck.in_all, self.stuck.in_all + count):
            self.stuck.park(tag, "retried", "too large")


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(module, "_MANY_STUCK", 60)
    return Scene()


def test_a_quarter_of_what_was_granted_may_get_stuck(scene: Scene) -> None:
    scene.get_stuck(24)
    scene.subscription.renew(0.0)
    assert scene.broker.granted == [100]
    scene.get_stuck(1)
    scene.subscription.renew(0.2)
    assert scene.broker.granted == [100, 100]
    scene.get_stuck(25)
    scene.subscription.renew(0.4)
    assert scene.broker.granted == [100, 100, 100], "at once: the others are not to wait"


def test_where_many_are_stuck_others_come_but_slowly(scene: Scene) -> None:
    scene.get_stuck(60)
    scene.subscription.renew(0.0)
    assert scene.broker.granted == [100, 50]
    for now_s in (0.2, 2.0, 4.9):
        scene.get_stuck(50)
        scene.subscription.renew(now_s)
    assert scene.broker.granted == [100, 50], "what gets stuck is bounded"
    scene.subscription.renew(5.0)
    assert scene.broker.granted == [100, 50, 50], "but others come"


def test_once_they_are_few_again_the_whole_prefetch_is_granted_at_once(scene: Scene) -> None:
    scene.get_stuck(60)
    scene.subscription.renew(0.0)
    scene.stuck.give_back_up_to(30)
    scene.subscription.renew(0.2)
    assert scene.broker.granted == [100, 50, 100]


def test_a_full_worker_is_granted_no_more_however_many_get_stuck(scene: Scene) -> None:
    """Each consumer brings as many as there are slots at least: twenty in a row brought 80 messages."""
    scene.in_slots_count = 100
    for now in range(20):
        scene.get_stuck(1)
        scene.subscription.renew(float(now))
    assert scene.broker.granted == [100]
    scene.in_slots_count = 99
    scene.get_stuck(25)
    scene.subscription.renew(30.0)
    assert scene.broker.granted == [100, 4]
