from __future__ import annotations

from hermes_ray.scaler.lifecycle import DRAIN_GRACE_S
from hermes_ray.scaler.workforce import ASK_AGAIN_S
from tests.support.fleet_scene import Scene


def test_who_has_least_to_lose_goes_first_then_from_the_emptiest_node_then_the_youngest() -> None:
    scene = Scene()
    scene.tick(heavy=2, light=2)
    scene.tick(heavy=5, light=2)
    scene.tick(heavy=6, light=2)
    names = [name for name in scene.pool.started if name.startswith("heavy")]
    light = [name for name in scene.pool.started if name.startswith("light")]
    said = [
        {"running": 4, "held": 4, "node_id": "empty"},
        {"running": 0, "held": 0, "node_id": "empty"},
        {"running": 0, "held": 0, "node_id": "crowded"},
        {"running": 0, "held": 9, "node_id": "empty"},
        {"running": 1, "held": 1, "node_id": "empty"},
        {"running": 0, "held": 0, "node_id": "crowded"},
    ]
    for name, what in zip(names, said, strict=True):
        scene.says(name, **what)
    for name in light:
        scene.says(name, node_id="crowded")
    for n in range(3):  # six on "crowded" with those of no topic we shrink
        scene.fleet.roster.started(f"light/extra{n}", scene.now_s)
        scene.pool.workers.append(f"light/extra{n}")
        scene.says(f"light/extra{n}", node_id="crowded")
    for target in range(5, -1, -1):
        scene.tick(after_s=0.1, heavy=target, light=5)
    order = [names.index(worker) for worker, _ in scene.pool.drained]
    assert order == [1, 5, 2, 3, 4, 0]


def test_a_drain_gets_the_topics_own_time_and_is_repeated_until_it_shows() -> None:
    scene = Scene("topics.heavy.worker.drain_timeout_s=100")
    (worker,) = scene.up(heavy=1)
    scene.tick()
    assert scene.pool.drained == [(worker, 100.0)]
    for _ in range(12):
        scene.tick()
    assert [timeout_s for _, timeout_s in scene.pool.drained] == [100.0, 94.0, 88.0], "less what has passed"
    scene.says(worker, phase="draining", running=1)
    for _ in range(12):
        scene.tick()
    assert len(scene.pool.drained) == 3
    scene.gone(worker)
    assert scene.tick() == []
    assert (scene.fleet.drained_count, scene.fleet.killed_count) == (1, 1)


def test_a_draining_worker_is_not_taken_back_but_replaced_when_demand_returns() -> None:
    scene = Scene()
    (worker,) = scene.up(heavy=1)
    scene.tick()
    scene.tick(heavy=1)
    assert len(scene.pool.started) == 2
    assert [name for name, _ in scene.pool.drained] == [worker]


def test_a_worker_that_hangs_past_its_drain_deadline_is_killed_and_no_sooner() -> None:
    scene = Scene("topics.heavy.worker.drain_timeout_s=100")
    (worker,) = scene.up(heavy=1)
    scene.tick()
    scene.says(worker, phase="draining", running=2)
    scene.tick(after_s=100 + DRAIN_GRACE_S)
    assert scene.pool.killed == []
    scene.tick()
    assert scene.pool.killed == [worker]
    scene.gone(worker)
    scene.tick()
    assert scene.fleet.killed_count == 2


def test_winding_down_drains_everybody_then_says_when_all_are_gone() -> None:
    scene = Scene()
    scene.up(heavy=2, light=1)
    assert scene.fleet.wind_down(scene.now_s + 30.0, kill=False, now_s=scene.now_s)
    assert sorted(timeout_s for _, timeout_s in scene.pool.drained) == [30.0] * 3
    for worker in scene.pool.started:
        scene.says(worker, phase="drained")
    assert scene.fleet.wind_down(scene.now_s + 29.8 + 0.2, kill=False, now_s=scene.now_s + 0.2)
    assert len(scene.pool.drained) == 3, "told once where it shows"
    scene.gone(*scene.pool.started)
    assert scene.fleet.refresh(scene.now_s + 1) == []
    assert not scene.fleet.wind_down(scene.now_s + 29.0 + 1, kill=False, now_s=scene.now_s + 1)
    assert (scene.fleet.drained_count, scene.fleet.killed_count) == (3, 0)


def test_winding_down_asks_again_where_no_drain_shows_with_the_time_that_is_left() -> None:
    scene = Scene()
    scene.up(heavy=1)
    for passed_s in (0.0, 0.2, ASK_AGAIN_S, ASK_AGAIN_S + 0.2):
        scene.fleet.wind_down(scene.now_s + 30.0 - passed_s + passed_s, kill=False, now_s=scene.now_s + passed_s)
    assert [round(timeout_s, 1) for _, timeout_s in scene.pool.drained] == [30.0, 24.8]


def test_winding_down_by_force_kills_and_counts_the_handlers_cut_short() -> None:
    scene = Scene()
    scene.up(heavy=2)
    for worker in scene.pool.started:
        scene.says(worker, running=3)
    assert scene.fleet.wind_down(scene.now_s + 0.0, kill=True, now_s=scene.now_s)
    assert sorted(scene.pool.killed) == sorted(scene.pool.started)
    scene.gone(*scene.pool.started)
    assert scene.fleet.refresh(scene.now_s + 1) == [], "no surprise: we did it"
    assert not scene.fleet.wind_down(scene.now_s + 0.0 + 1, kill=True, now_s=scene.now_s + 1)
    assert scene.fleet.killed_count == 6


def test_winding_down_shortens_the_time_of_those_that_drain_already() -> None:
    scene = Scene()
    scene.up(heavy=2)
    scene.tick(heavy=1)
    ((leaving, timeout_s),) = scene.pool.drained
    assert timeout_s == 900.0
    scene.says(leaving, phase="draining", running=1)
    scene.fleet.wind_down(scene.now_s + 30.0, kill=False, now_s=scene.now_s)
    assert (leaving, 30.0) in scene.pool.drained


def test_a_drain_that_nobody_here_ordered_has_a_deadline_too() -> None:
    """The order's tick was lost with the scaler that gave it, or the checkpoint was."""
    scene = Scene()
    (worker,) = scene.up(heavy=1)
    lines = []
    for _ in range(200):
        scene.says(worker, phase="draining", running=1, held=1)
        lines += scene.tick(5.0, heavy=1)
        for other in scene.pool.started[1:]:
            scene.says(other)
    assert worker in scene.pool.killed
    assert lines == [f"heavy: worker {worker} did not end by its deadline and is killed"]
