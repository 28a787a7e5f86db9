"""Workers of new code that die in the middle of their roll-out."""

from __future__ import annotations

import pytest

from hermes_ray.scaler.start_backoff import EARLY_DEATH_S
from tests.support.rollout_scene import Rollout


def test_of_a_hundred_only_two_canaries_are_lost_to_code_that_dies_with_its_first_message() -> None:
    scene = Rollout(start_s=3.0, words=("topics.heavy.workers.max=100",))
    old = scene.begun(100)
    scene.fragile = lambda worker: worker not in old
    scene.play(20, heavy=100)
    assert len([worker for worker in scene.pool.started if worker not in old]) <= 3
    assert set(old) <= set(scene.pool.workers)
    assert any("the roll-out waits for it, 100 old ones work on" in line for line in scene.lines)


def played(scene: Rollout, old: list[str], age_s: float) -> None:
    """One second, in which workers of new code die at this age."""
    for worker, up_s in scene.up_since_s.items():
        if worker in scene.pool.workers and worker not in old and scene.now_s - up_s >= age_s:
            scene.gone(worker)
    scene.play(1, heavy=20)


@pytest.mark.parametrize("age_s", [12.0, 50.0])
def test_new_workers_that_die_a_while_after_they_have_worked_stop_the_roll_out(age_s: float) -> None:
    scene = Rollout(start_s=20.0, words=("topics.heavy.workers.roll_surge=0.05",))
    old = scene.begun(20)
    scene.handled = 1
    while not scene.fleet.start_error("heavy"):
        played(scene, old, age_s)
    left = set(old) & set(scene.pool.workers) - {worker for worker, _ in scene.pool.drained}
    assert len(left) >= 10
    for _ in range(300):
        played(scene, old, age_s)
    assert left <= set(scene.pool.workers)
    assert len(scene.pool.workers) >= 18, "what is missing is started all the same: it works in between"
    assert scene.fleet.start_failure_count("heavy") > 0
    assert "of the new code died" in (scene.fleet.start_error("heavy") or "")
    assert any(line.endswith("old ones work on") for line in scene.lines)


@pytest.mark.parametrize("count", [1, 10])
def test_deaths_beside_others_as_old_say_nothing_about_new_code(count: int) -> None:
    scene = Rollout(start_s=5.0, words=("topics.heavy.workers.max=100",))
    old = set(scene.begun(100))
    scene.handled = 1
    scene.play(24, heavy=100)
    of_age = [w for w, up_s in scene.up_since_s.items() if w not in old and scene.now_s - up_s > EARLY_DEATH_S]
    assert len(of_age) > 12
    scene.gone(*of_age[-count:])
    scene.play(1, heavy=100)
    assert old & set(scene.pool.workers)
    assert scene.fleet.start_failure_count("heavy") == 0


def test_a_doubt_ends_with_the_last_worker_also_when_all_are_gone_at_once() -> None:
    scene = Rollout(start_s=20.0, words=("topics.heavy.workers.roll_surge=0.05",))
    old = scene.begun(20)
    scene.handled = 1
    while not scene.fleet.start_error("heavy"):
        played(scene, old, 12.0)
    scene.play(1, heavy=0)
    scene.gone(*scene.pool.workers)
    scene.play(80, heavy=0)
    assert scene.fleet.start_error("heavy") is None
    assert scene.fleet.start_failure_count("heavy") == 0
