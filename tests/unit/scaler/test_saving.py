"""What is written, when, and that nothing newer is shown."""

from __future__ import annotations

import pytest

from hermes_ray.scaler.clock import Anchor
from hermes_ray.scaler.memory import decode
from tests.support.memories import OWNER
from tests.support.scaler_world import ScalerWorld, pause


def test_a_write_that_fails_is_told_once_and_work_goes_on() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(3)
    world.store.error = OSError(28, "No space left on device")
    world.tick(10)
    told = [line for _, line in world.loop.lines if "No space left" in line]
    assert told == [
        "the checkpoint cannot be written: [Errno 28] No space left on device; a restarted scaler would learn anew"
    ]
    assert "No space left" in (world.loop.write_error or "")
    assert world.acked("light") == world.handled["light"] > 0, "nobody is blinded by a full disk"
    assert len(world.of("light")) > 1
    world.store.error = None
    world.tick()
    assert world.loop.write_error is None
    assert world.memory().header.anchor == Anchor(at_s=world.now_s)
    world.store.error = OSError(5, "Input/output error")
    world.tick(2)
    assert sum("cannot be written" in line for _, line in world.loop.lines) == 2


@pytest.mark.parametrize(("write_s", "most"), [(0.01, 60), (0.3, 15), (2.0, 3)])
def test_a_slow_write_is_made_less_often_and_nothing_newer_than_it_is_shown(write_s: float, most: int) -> None:
    world = ScalerWorld()
    world.rate_hz["light"], world.write_s = 20, write_s
    world.loop.save(world.now_s, at_once=True)
    before = world.store.write_count
    for _ in range(60):
        world.tick()
        assert world.loop.figures is not None
        assert Anchor(at_s=world.loop.figures.at_s) == world.memory().header.anchor
    assert 1 < world.store.write_count - before <= most
    assert len(world.of("light")) > 1, "decisions are made each second"


def test_one_write_that_hung_keeps_nothing_from_being_written_for_more_than_20_s() -> None:
    world = ScalerWorld()
    world.write_s = 60.0
    world.tick()
    world.write_s, hung_until_s, before = 0.0, world.now_s + 60.0, world.store.write_count
    world.now_s = hung_until_s
    while world.store.write_count == before and world.now_s < hung_until_s + 600:
        world.tick()
    assert world.now_s - hung_until_s <= 21


def test_orders_are_written_at_once_however_slow_that_is() -> None:
    world = ScalerWorld()
    world.write_s = 100.0
    world.tick(2)
    world.loop.override("light", pause)
    world.loop.own(OWNER)
    world.loop.save(world.now_s, at_once=True)
    memory = world.memory()
    assert (memory.header.owner, memory.topics["light"].override.paused) == (OWNER, True)


def test_only_what_changed_is_written_each_second() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(30)
    last = decode(world.store.records[-1])
    assert not last.is_whole
    assert set(last.topics) == {"light"}
    assert {worker.worker.partition("/")[0] for worker in last.workers} == {"light"}
