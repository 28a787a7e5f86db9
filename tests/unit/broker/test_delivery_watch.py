"""Finding out that the broker has forgotten a consumer, without harm to what it has delivered."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, NoFreeChannels

from hermes_ray.broker.beside import Beside
from hermes_ray.broker.delivery_watch import DeliveryWatch

TOO_MANY = "NOT_ALLOWED - number of channels opened for user 'few' has reached the maximum allowed limit of (2)"


class FakeChannel:
    """One on which the test answers."""

    def __init__(self, connection: FakeConnection) -> None:
        self.connection = connection
        self.is_open = True
        self.asked: list[Callable[[Any], None]] = []
        self.closed: list[Callable[[Any, Exception], None]] = []

    def queue_declare(self, queue: str, *, passive: bool, callback: Callable[[Any], None]) -> None:
        assert (queue, passive) == ("q", True)
        self.asked.append(callback)

    def add_on_close_callback(self, callback: Callable[[Any, Exception], None]) -> None:
        self.closed.append(callback)

    def answer(self, message_count: int) -> None:
        self.asked.pop()(SimpleNamespace(method=SimpleNamespace(message_count=message_count)))

    def close(self, error: Exception) -> None:
        self.is_open = False
        for callback in self.closed:
            callback(self, error)


class FakeConnection:
    """Channels are open at once, as long as there may be more."""

    def __init__(self) -> None:
        self.channels: list[FakeChannel] = []
        self.is_full = False

    def channel(self, *, on_open_callback: Callable[[Any], None]) -> FakeChannel:
        if self.is_full:
            raise NoFreeChannels
        self.channels.append(FakeChannel(self))
        self._opening = on_open_callback
        return self.channels[-1]

    def open(self) -> FakeChannel:
        self._opening(self.channels[-1])
        return self.channels[-1]


class Scene:
    """An idle consumer and who watches it."""

    def __init__(self) -> None:
        self.connection = FakeConnection()
        self.consuming = FakeChannel(self.connection)
        self.forgotten_count = 0
        self.received_count = 0
        loop: Any = SimpleNamespace(call_later=lambda _delay_s, _look: None)
        self.watch = DeliveryWatch(
            loop,
            "q",
            idle_channel=lambda: self.consuming,
            received=lambda: self.received_count,
            on_forgotten=self._forgotten,
            beside=Beside(),
        )

    def _forgotten(self) -> None:
        self.forgotten_count += 1


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_it_asks_on_one_channel_of_its_own_and_twice_before_it_is_sure(scene: Scene) -> None:
    scene.watch.look()
    scene.connection.open().answer(5)
    assert scene.forgotten_count == 0
    scene.watch.look()
    scene.connection.channels[0].answer(5)
    assert (scene.forgotten_count, len(scene.connection.channels)) == (1, 1)
    assert not scene.consuming.asked


def test_while_there_is_no_answer_it_asks_no_more(scene: Scene) -> None:
    scene.watch.look()
    scene.watch.look()
    beside = scene.connection.open()
    scene.watch.look()
    assert (len(scene.connection.channels), len(beside.asked)) == (1, 1)


@pytest.mark.parametrize(("code", "forgotten_count"), [(404, 1), (403, 0), (405, 0)])
def test_a_refusal_closes_its_own_channel_alone_and_a_queue_that_is_gone_has_no_consumer(
    scene: Scene, code: int, forgotten_count: int
) -> None:
    for _ in range(2):
        scene.watch.look()
        scene.connection.open().close(ChannelClosedByBroker(code, "NOT_FOUND - no queue 'q' in vhost '/'"))
    assert scene.consuming.is_open
    assert scene.forgotten_count == forgotten_count
    assert len(scene.connection.channels) == 2


def test_where_no_other_channel_is_allowed_it_asks_on_the_consumers(scene: Scene) -> None:
    scene.connection.is_full = True
    scene.watch.look()
    scene.consuming.answer(0)
    scene.connection.is_full = False
    scene.watch.look()
    scene.connection.open().close(ConnectionClosedByBroker(530, TOO_MANY))
    scene.watch.look()
    scene.consuming.answer(0)
    assert len(scene.connection.channels) == 1, "a connection ends over it once"


def test_on_the_next_connection_it_asks_anew(scene: Scene) -> None:
    scene.watch.look()
    scene.connection.open().close(ConnectionClosedByBroker(320, "CONNECTION_FORCED - a test"))
    scene.watch.look()
    scene.connection.open().answer(0)
    assert scene.forgotten_count == 0


def test_a_delivery_says_that_nothing_is_forgotten(scene: Scene) -> None:
    scene.watch.look()
    scene.connection.open().answer(5)
    scene.received_count = 1
    scene.watch.look()
    scene.watch.look()
    scene.connection.channels[0].answer(5)
    assert scene.forgotten_count == 0
