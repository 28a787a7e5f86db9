"""Workers of old code or settings are replaced one by one, whatever else happens meanwhile."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hermes_ray.core.model import Capacity, Node
from hermes_ray.scaler.start_backoff import EARLY_DEATH_S
from tests.support.fleet_scene import Scene
from tests.support.params import slow
from tests.support.rollout_scene import CPU, Rollout


def test_with_room_a_new_one_comes_first_and_there_are_never_fewer_than_wanted() -> None:
    scene = Rollout()
    old = scene.begun(4)
    scene.play(40, heavy=4)
    assert not set(old) & set(scene.pool.workers)
    assert len(scene.pool.workers) == 4
    assert min(scene.consuming_counts) == 4
    assert max(scene.consuming_counts) <= 6, "two canaries above the target at most"
    assert scene.rests(4)
    assert len(scene.pool.started) == 8


def test_on_a_full_cluster_one_old_drains_first_and_never_two_at_a_time() -> None:
    scene = Rollout(places=4)
    old = scene.begun(4)
    scene.play(60, heavy=4)
    assert not set(old) & set(scene.pool.workers)
    assert len(scene.pool.workers) == 4
    assert min(scene.consuming_counts) == 3
    assert max(scene.draining_counts) == 1
    assert scene.rests(4)


def test_the_only_worker_of_a_full_cluster_is_replaced_too() -> None:
    scene = Rollout(places=1)
    (old,) = scene.begun(1)
    scene.play(20, heavy=1)
    assert len(scene.pool.workers) == 1
    assert old not in scene.pool.workers
    assert scene.rests(1)


@pytest.mark.parametrize(("places", "lost"), [(1000, 0), (4, 1)])
def test_new_code_that_does_not_start_costs_one_worker_at_most_and_is_tried_after_growing_pauses(
    places: int, lost: int
) -> None:
    scene = Rollout(places=places)
    old = scene.begun(4)
    scene.broken = lambda worker: worker not in old
    scene.play(300, heavy=4)
    assert len(set(old) & set(scene.pool.workers)) == 4 - lost
    assert scene.consuming_counts[-1] == 4 - lost
    tries_s = [scene.started_s[worker] for worker in scene.pool.started if worker not in old]
    pauses_s = [later - earlier for earlier, later in pairwise(tries_s)]
    assert [pause_s for pause_s in pauses_s if pause_s] == [6.0, 11.0, 21.0, 41.0, 81.0]
    assert pauses_s.count(0.0) == (1 if lost == 0 else 0), "two canaries where there is room, then one each time"
    scene.broken = lambda worker: False
    scene.play(600, heavy=4)
    assert not set(old) & set(scene.pool.workers), "mended, it goes on by itself"
    assert len(scene.pool.workers) == 4


@pytest.mark.parametrize(
    ("places", "start_s", "lost"), [slow(1000, 1.0, 3), (8, 1.0, 3), (1000, 4.0, 1), slow(8, 4.0, 2)]
)
def test_new_code_that_ends_with_its_first_messages_goes_no_further_once_that_shows(
    places: int, start_s: float, lost: int
) -> None:
    """A new one lives for 3 s: what is replaced meanwhile is lost."""
    scene = Rollout(places=places, start_s=start_s)
    old = scene.begun(8)
    scene.fragile = lambda worker: worker not in old
    scene.play(30, heavy=8)
    left = set(old) & set(scene.pool.workers)
    assert len(left) >= 8 - lost
    scene.play(600, heavy=8)
    assert left == set(old) & set(scene.pool.workers)
    scene.fragile = lambda worker: False
    scene.play(240, heavy=8)
    assert not set(old) & set(scene.pool.workers), "mended, it goes on by itself"
    assert len(scene.pool.workers) == 8


@pytest.mark.parametrize("places", [1000, 4])
def test_after_a_start_that_failed_the_next_has_to_stand_its_trial_before_another_old_one_goes(places: int) -> None:
    scene = Rollout(places=places)
    old = scene.begun(4)
    scene.broken = lambda worker: worker not in old
    scene.play(6, heavy=4)
    scene.broken = lambda worker: False
    lost = 4 - len(set(old) & set(scene.pool.workers))
    started = len(scene.pool.started)
    while len(scene.pool.started) == started:
        scene.play(1, heavy=4)
    scene.play(int(EARLY_DEATH_S) - 1, heavy=4)
    assert len(scene.pool.started) == started + 1
    assert 4 - len(set(old) & set(scene.pool.workers)) == lost
    scene.play(3, heavy=4)
    assert scene.pool.drained[-1][0] in old
    scene.play(40, heavy=4)
    assert not set(old) & set(scene.pool.workers)


def test_a_place_that_somebody_else_takes_costs_no_second_worker() -> None:
    scene = Scene(CPU)
    scene.up(heavy=3)
    scene.applied(CPU, code="new")
    full = Capacity(nodes=(Node(node_id="node", available={"CPU": 3}),))
    scene.tick(capacity=full, heavy=3)
    ((drained, _),) = scene.pool.drained
    scene.gone(drained)
    taken = Capacity(nodes=(Node(node_id="node", available={"CPU": 2}),))
    for _ in range(30):
        scene.tick(capacity=taken, heavy=3)
    assert len(scene.pool.drained) == 1


@pytest.mark.parametrize("at_s", range(8))
@pytest.mark.parametrize("target", [3, 2, 1])
def test_while_the_pool_shrinks_in_the_middle_there_are_never_fewer_than_wanted(at_s: int, target: int) -> None:
    scene = Rollout(start_s=3.0)
    old = scene.begun(4)
    scene.play(at_s, heavy=4)
    scene.play(60, heavy=target)
    assert min(scene.consuming_counts[at_s:]) == target
    assert len(scene.pool.workers) == target
    assert not set(old) & set(scene.pool.workers)
    assert scene.rests(target)


@pytest.mark.parametrize("places", [1000, 6])
@pytest.mark.parametrize("at_s", range(8))
def test_while_the_pool_grows_in_the_middle_nobody_is_missing_for_longer_than_a_start_takes(
    at_s: int, places: int
) -> None:
    scene = Rollout(places=places)
    old = scene.begun(4)
    scene.play(at_s, heavy=4)
    scene.play(60, heavy=6)
    assert min(scene.consuming_counts) >= 4
    assert min(scene.consuming_counts[at_s + 5 :]) >= (6 if places > 6 else 5)
    assert len(scene.pool.workers) == 6
    assert not set(old) & set(scene.pool.workers)
    assert scene.rests(6)


@pytest.mark.parametrize("at_s", range(5))
def test_a_pause_in_the_middle_drains_the_old_and_the_new(at_s: int) -> None:
    scene = Rollout()
    scene.begun(4)
    scene.play(at_s, heavy=4)
    scene.play(6, heavy=0)
    assert scene.pool.workers == []
    scene.play(5, heavy=4)
    assert len(scene.pool.workers) == 4
    assert scene.rests(4)


def test_a_new_one_that_has_lost_the_broker_takes_nobodys_place_until_it_is_back() -> None:
    scene = Scene()
    old = scene.up(heavy=2)
    scene.applied(code="new")
    scene.tick(heavy=2)
    new = sorted(set(scene.pool.started) - set(old))
    for _ in range(5):
        for worker in new:
            scene.says(worker, phase="connecting")
        scene.tick(heavy=2)
    assert scene.pool.drained == []
    scene.says(new[0], acked=1)
    scene.tick(heavy=2)
    ((drained, _),) = scene.pool.drained
    assert drained in old


def test_nobody_is_replaced_by_a_plan_that_changes_nothing_a_worker_is_made_of() -> None:
    scene = Rollout()
    old = scene.begun(3)
    scene.applied(CPU, "topics.heavy.workers.max=40", "topics.heavy.weight=2", "topics.heavy.retry.max_attempts=9")
    assert scene.rests(3)
    assert scene.pool.workers == old


def test_a_second_plan_in_the_middle_replaces_those_of_both_before_it() -> None:
    scene = Rollout()
    old = scene.begun(4)
    scene.play(5, heavy=4)
    between = list(scene.pool.workers)
    assert set(between) & set(old)
    assert set(between) - set(old)
    scene.applied(CPU, code="newest")
    scene.play(60, heavy=4)
    assert not set(scene.pool.workers) & {*old, *between}
    assert min(scene.consuming_counts) == 4


def test_back_to_the_old_code_in_the_middle_keeps_the_old_ones_that_are_left() -> None:
    scene = Rollout()
    old = scene.begun(4)
    scene.play(5, heavy=4)
    left = [worker for worker in old if worker in scene.pool.workers and worker not in scene.asked_s]
    scene.applied(CPU)
    scene.play(60, heavy=4)
    assert set(left) <= set(scene.pool.workers)
    assert min(scene.consuming_counts) == 4


def test_each_topic_rolls_by_itself() -> None:
    scene = Scene()
    old = scene.up(heavy=2, light=2)
    scene.applied(code="new")
    scene.tick(heavy=2, light=2)
    new = [worker.partition("/")[0] for worker in scene.pool.started if worker not in old]
    assert sorted(new) == ["heavy", "heavy", "light", "light"]


@pytest.mark.parametrize(("surge", "most_s"), [(0.25, 60), slow(1.0, 30)])
def test_a_hundred_healthy_workers_are_replaced_within_a_minute_and_none_is_ever_missing(
    surge: float, most_s: int
) -> None:
    scene = Rollout(start_s=3.0, words=(f"topics.heavy.workers.roll_surge={surge}", "topics.heavy.workers.max=100"))
    old = scene.begun(100)
    scene.handled = 1
    seconds = 0
    while set(old) & set(scene.pool.workers):
        scene.play(1, heavy=100)
        seconds += 1
        assert seconds <= most_s
    assert min(scene.consuming_counts) >= 100
    assert max(scene.consuming_counts) <= 100 + 100 * surge
    assert scene.rests(100)


def test_a_larger_surge_is_live_in_the_middle() -> None:
    scene = Rollout(start_s=3.0, words=("topics.heavy.workers.max=40",))
    old = scene.begun(40)
    scene.handled = 1
    scene.play(6, heavy=40)
    scene.applied(CPU, "topics.heavy.workers.max=40", "topics.heavy.workers.roll_surge=1", code="new")
    scene.play(2, heavy=40)
    assert len(scene.pool.workers) > 60
    scene.play(20, heavy=40)
    assert not set(old) & set(scene.pool.workers)
    assert len(scene.pool.workers) == 40


def test_room_that_others_take_in_a_roll_out_costs_one_worker_and_is_said() -> None:
    """Also where the grant falls with the room: tasks of others wait for each place that is left."""
    scene = Rollout(places=8)
    old = set(scene.begun(8))
    for _ in range(240):
        scene.places = 8 - sum(scene.now_s - asked_s >= 2.0 for asked_s in scene.asked_s.values())
        scene.play(1, heavy=scene.places)
    (gone,) = old - set(scene.pool.workers)
    line = f"heavy: the room that worker {gone} left was taken; the roll-out waits for room, 5 minutes at least"
    assert [said for said in scene.lines if "was taken" in said] == [line]


def test_code_that_fails_is_said_as_long_as_old_workers_wait_for_it_and_costs_one_of_them() -> None:
    scene = Rollout(places=4)
    old = set(scene.begun(4))
    scene.broken = lambda worker: worker not in old
    for _ in range(900):
        scene.places = 4 - sum(scene.now_s - asked_s >= 2.0 for asked_s in scene.asked_s.values() if scene.lines)
        scene.play(1, heavy=scene.places)
    assert len(old & set(scene.pool.workers)) >= 3 - 1
    assert scene.fleet.start_error("heavy") is not None


def test_a_node_lost_in_a_roll_out_is_no_room_that_others_took() -> None:
    scene = Rollout(places=8)
    old = set(scene.begun(8))
    while len(old & set(scene.pool.workers)) > 4:
        scene.play(1, heavy=8)
    lost = [worker for worker in scene.pool.workers if worker not in old][:3]
    scene.gone(*lost)
    scene.places = 5
    scene.play(150, heavy=5)
    assert not old & set(scene.pool.workers)
    assert not [line for line in scene.lines if "was taken" in line]


def test_one_failed_try_and_room_that_was_taken_then_do_not_end_a_roll_out_for_ever() -> None:
    scene = Rollout(places=4)
    old = set(scene.begun(4))
    scene.broken = lambda worker: worker not in old
    while not scene.fleet.start_error("heavy"):
        scene.play(1, heavy=4)
    scene.broken = lambda worker: False
    scene.places = 3
    scene.play(1_000, heavy=3)
    assert not old & set(scene.pool.workers)
    assert scene.fleet.start_error("heavy") is None
