"""One thread ticks and carries out orders between two ticks, whatever fails, until it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from hermes_ray.scaler import tick_thread as module
from hermes_ray.scaler.tick_thread import FOLLOWERS_S, UNHEALTHY_S, TickThread
from tests.support.ledger import until
from tests.support.scaler_world import ScalerWorld, pause


class Rig:
    """A thread of ticks that tick a world; ``error`` is what the next one raises."""

    def __init__(self, *words: str) -> None:
        self.world = ScalerWorld(*words)
        self.error: Exception | None = None
        self.tick_count = 0
        self.left = threading.Event()
        self.thread = TickThread(self.world.loop, self._tick, self.left.set, lambda: self.world.now_s)

    def _tick(self) -> None:
        self.tick_count += 1
        assert not self.thread.idle.is_set()
        if (error := self.error) is not None:
            self.error = None
            raise error
        self.world.tick()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.thread.start()
    yield rig
    rig.thread.over.set()
    assert rig.left.wait(20.0)


def test_an_order_is_on_disk_when_it_returns(rig: Rig) -> None:
    thread, world = rig.thread, rig.world
    world.write_s = 100.0  # so slow that ticks do not write
    thread.do(thread.permit(60.0), lambda: world.loop.override("light", pause))
    assert world.memory().topics["light"].override.paused


def test_an_order_that_saves_by_itself_is_not_saved_again(rig: Rig) -> None:
    thread, world = rig.thread, rig.world
    world.write_s = 100.0
    before = thread.do(thread.permit(60.0), lambda: world.store.write_count, saves=True)
    assert thread.do(thread.permit(60.0), lambda: world.store.write_count, saves=False) == before + 1


def test_a_tick_that_fails_is_followed_by_another(rig: Rig) -> None:
    until(lambda: rig.tick_count > 0, "a first tick")
    rig.error = ValueError("a depth of -1")
    before = rig.tick_count
    until(lambda: rig.tick_count > before + 1, "a tick after the failing one")
    until(rig.thread.idle.is_set, "its end")
    assert rig.error is None


def test_it_is_over_once_the_result_was_seen_and_takes_no_order_then(rig: Rig) -> None:
    thread, world = rig.thread, rig.world
    permit = thread.permit(60.0)
    thread.do(permit, lambda: world.loop.stop(kill=False, now_s=world.now_s))
    until(lambda: world.loop.result is not None, "a result")
    thread.result_seen.set()
    assert rig.left.wait(20.0)
    with pytest.raises(RuntimeError, match="ending"):
        thread.do(permit, lambda: world.loop.override("light", pause))


def test_a_thread_that_ticks_no_more_is_unhealthy() -> None:
    rig = Rig()
    assert rig.thread.unhealthy() is None
    rig.world.now_s += UNHEALTHY_S + 3.0
    assert rig.thread.unhealthy() == "the last tick ended 18 s ago"
