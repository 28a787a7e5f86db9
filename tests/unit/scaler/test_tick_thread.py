"""One thread ticks and carries out orders between two ticks, whatever fails, until it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from hermes_ray.scaler import tick_thread as module
from hermes_ray.scaler.tick_thread import FOLLOWERS_S, UNHEALTHY_S, TickThread
from tests.support.ledger import until
from tests.support.scaler_world import ScalerWorld, pause


class Rig:
    """A thread of ticks that tick a world; ``error`` is what the next one raises, or each if ``is_broken``."""

    def __init__(self, *words: str) -> None:
        self.world = ScalerWorld(*words)
        self.error: Exception | None = None
        self.is_broken = False
        self.tick_count = 0
        self.left = threading.Event()
        self.during: Callable[[], object] = self.world.tick
        self.thread = TickThread(self.world.loop, self._tick, self.left.set, lambda: self.world.now_s)

    def _tick(self) -> None:
        self.tick_count += 1
        assert not self.thread.idle.is_set()
        if (error := self.error) is not None:
            self.error = error if self.is_broken else None
            raise error
        self.during()

    def order(self, action: Callable[[], object] = lambda: None) -> None:
        """Have it done after the tick that runs, or the next one."""
        self.thread.do(self.thread.permit(60.0), action)

    def whole_tick(self) -> None:
        """Wait until a tick has begun and ended."""
        for _ in range(2):
            self.order()


@contextmanager
def running(rig: Rig) -> Iterator[Rig]:
    rig.thread.start()
    yield rig
    if not rig.thread.over.is_set():
        rig.order(rig.thread.over.set)
    assert rig.left.wait(20.0)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with running(Rig()) as rig:
        yield rig


@pytest.fixture
def hourly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks that come an hour after the one before, unless something calls for one."""
    monkeypatch.setattr(module, "TICK_S", 3_600.0)


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


def test_a_tick_that_fails_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.05)
    with running(Rig()) as rig:
        until(lambda: rig.tick_count > 0, "a first tick")
        rig.error = ValueError("a depth of -1")
        before = rig.tick_count
        until(lambda: rig.tick_count > before + 1, "a tick after the failing one")
        until(rig.thread.idle.is_set, "its end")
        assert rig.error is None


def test_a_tick_that_fails_has_not_ended(rig: Rig) -> None:
    rig.whole_tick()
    rig.is_broken, rig.error = True, ValueError("a depth of -1")
    rig.whole_tick()
    rig.world.now_s += UNHEALTHY_S + 1.0
    rig.whole_tick()
    assert rig.thread.unhealthy() is not None
    rig.is_broken = False
    rig.whole_tick()
    rig.whole_tick()
    assert rig.thread.unhealthy() is None


def test_how_long_a_tick_took_is_told_to_the_loop(rig: Rig) -> None:
    rig.whole_tick()
    assert rig.world.loop.tick_s > 0.0


@pytest.mark.usefixtures("hourly")
def test_an_order_is_followed_by_one_tick_and_a_pause_again(rig: Rig) -> None:
    rig.whole_tick()
    before = rig.tick_count
    rig.left.wait(0.1)  # time to tick in, if it did
    assert rig.tick_count <= before + 1


@pytest.mark.usefixtures("hourly")
def test_a_tick_that_took_all_its_time_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: rig.world.now_s))

    def slow() -> None:
        rig.world.now_s += 3_600.0

    rig.during = slow
    with running(rig):
        until(lambda: rig.tick_count >= 3, "a third tick")


@pytest.mark.usefixtures("hourly")
def test_while_it_stops_it_ticks_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOPPING_TICK_S", 0.0)
    with running(Rig("topics.light.workers.min=1")) as rig:
        rig.whole_tick()
        rig.world.hung.update(rig.world.pool.workers)
        rig.order(lambda: rig.world.loop.stop(kill=False, now_s=rig.world.now_s))
        before = rig.tick_count
        until(lambda: rig.tick_count >= before + 3, "ticks of a scaler that stops")


def test_an_order_that_waits_when_it_is_over_is_carried_out(rig: Rig) -> None:
    with ThreadPoolExecutor(1) as caller:

        def last() -> None:
            caller.submit(rig.order, lambda: rig.world.loop.override("light", pause))
            until(rig.thread._woken.is_set, "an order that waits")
            rig.thread.over.set()

        rig.order(lambda: setattr(rig, "during", last))
        assert rig.left.wait(20.0)
    assert rig.world.memory().topics["light"].override.paused


@pytest.mark.parametrize("is_seen", [True, False])
def test_it_stays_for_a_driver_to_see_the_result_and_for_another_after_that(
    is_seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=slept.append))
    monkeypatch.setattr(module, "LAST_WORDS_S", 60.0 if is_seen else 0.01)
    with running(Rig()) as rig:
        rig.order(lambda: rig.world.loop.stop(kill=False, now_s=rig.world.now_s))
        if is_seen:
            assert not rig.left.wait(0.3), "nobody has seen it yet"
            rig.thread.result_seen.set()
        assert rig.left.wait(20.0)
    assert slept == ([FOLLOWERS_S] if is_seen else [])


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
