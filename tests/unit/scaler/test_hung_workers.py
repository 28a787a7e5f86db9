"""A worker whose handler hangs says so, and one that makes room for another by itself is replaced at once."""

from __future__ import annotations

from tests.support.fleet_scene import Scene


def test_a_hung_handler_is_told_with_its_message_and_its_time() -> None:
    scene = Scene()
    (worker, _other) = scene.up(heavy=2)
    scene.says(worker, hung_count=1, hung_id="m-7", hung_s=312.4, running=1)
    scene.tick(heavy=2)
    record = scene.fleet.roster.get(worker)
    assert record is not None
    assert (
        scene.fleet.trouble(record, scene.now_s) == "a handler has been at message m-7 for 312 s, and does not return"
    )
    assert scene.fleet.team("heavy", scene.now_s).hung_count == 1


def test_a_worker_that_drains_by_itself_is_replaced_in_the_next_tick() -> None:
    scene = Scene()
    (worker, _other) = scene.up(heavy=2)
    scene.says(worker, phase="draining", hung_count=1, hung_id="m-7", hung_s=2.0)
    scene.tick(heavy=2)
    assert len(scene.pool.started) == 3
