"""A stop order: what is asked again, what a deadline allows, and what is written at the end."""

from __future__ import annotations

from hermes_ray.core.model import Override
from hermes_ray.scaler.control_loop import KILL_GRACE_S
from tests.support.scaler_world import ScalerWorld, pause


def hung_world() -> ScalerWorld:
    """Two workers that consume, then hang: they end by a kill only."""
    world = ScalerWorld("topics.light.workers.min=2")
    world.tick(3)
    world.hung.update(world.pool.workers)
    return world


def test_a_stop_order_that_is_repeated_moves_no_deadline() -> None:
    world = hung_world()
    assert world.loop.stop(kill=False, now_s=world.now_s) == 30.0
    world.tick(10)
    assert world.loop.stop(kill=False, now_s=world.now_s) == 20.0
    world.tick(10)
    assert world.loop.stop(kill=False, now_s=world.now_s) == 10.0


def test_an_order_to_drain_takes_no_order_to_kill_back() -> None:
    world = hung_world()
    world.loop.stop(kill=True, now_s=world.now_s)
    world.loop.stop(kill=False, now_s=world.now_s)
    world.tick()
    assert set(world.pool.killed) == set(world.pool.workers)


def test_at_its_deadline_a_worker_has_a_moment_to_end_itself_before_it_is_killed() -> None:
    world = hung_world()
    world.tick(int(world.loop.stop(kill=False, now_s=world.now_s) + KILL_GRACE_S))
    assert world.pool.killed == []
    world.tick()
    assert set(world.pool.killed) == set(world.pool.workers)


def test_while_it_stops_no_worker_is_wanted() -> None:
    world = hung_world()
    assert world.figures("light").target == 2
    world.loop.stop(kill=False, now_s=world.now_s)
    texts = []
    for _ in range(2):
        world.tick()
        world.ready["light"] += 7
        assert world.figures("light").target == 0
        decision = world.loop.decision("light")
        assert decision is not None
        texts.append(decision.text)
    assert texts == [
        "2 -> 0 workers: 0 waiting, arrivals 0/s; stopped by hand",
        "0 workers: 7 waiting, oldest 2 s, arrivals 0/s; stopped by hand",
    ]


def test_the_end_is_on_disk_however_slow_writes_are() -> None:
    world = ScalerWorld("topics.light.workers.min=1")
    world.tick(3)
    world.loop.override("heavy", pause)
    world.loop.stop(kill=False, now_s=world.now_s)
    world.write_s = 100.0
    world.loop.save(world.now_s, at_once=True)
    world.tick(3)
    assert world.loop.result is not None
    memory = world.memory()
    assert (memory.topics["heavy"].override, memory.workers) == (Override(), {}), "a pause ends with the deployment"
