"""Workers go where they were placed, and make room for each other: whole episodes on real nodes."""

from __future__ import annotations

from collections import Counter

import pytest

from hermes_ray.core import placement
from hermes_ray.scaler.fleet import PLACED_WITHIN_S
from tests.support.cluster_scene import Cluster
from tests.support.fleet_scene import Scene


def two_light_on_each() -> Cluster:
    scene = Cluster(2.0, 2.0)
    scene.play(2, light=4)
    scene.cpus = {"n0": 4.0, "n1": 4.0}
    assert scene.at("n0")["light"] == scene.at("n1")["light"] == 2
    return scene


def test_two_light_workers_on_each_of_two_nodes_make_room_for_a_heavy_one_within_seconds() -> None:
    scene = two_light_on_each()
    scene.play(8, light=4, heavy=1)
    assert scene.counts() == (4, 1)
    assert len(scene.pool.drained) == 2
    assert len(scene.pool.started) == 4 + 2 + 1
    assert scene.rests(light=4, heavy=1)


def test_a_shrinking_topic_leaves_where_it_makes_room() -> None:
    scene = two_light_on_each()
    scene.play(8, light=2, heavy=1)
    assert scene.counts() == (2, 1)
    assert len(scene.pool.drained) == 2
    assert scene.rests(light=2, heavy=1)


def test_while_the_drained_work_on_nobody_is_put_in_their_place_and_no_second_order_is_given() -> None:
    scene = two_light_on_each()
    scene.play(1, light=4, heavy=1)
    ordered = list(scene.pool.drained)
    for worker, _ in ordered:
        scene.asked_s[worker] = scene.now_s + 30.0  # their handlers run for so long
    scene.play(20, light=4, heavy=1)
    assert {worker for worker, _ in scene.pool.drained} == {worker for worker, _ in ordered}
    assert scene.counts() == (6, 0)
    scene.play(20, light=4, heavy=1)
    assert scene.counts() == (4, 1)
    assert scene.rests(light=4, heavy=1)


def test_a_grant_that_nobody_can_make_room_for_is_said_once_with_what_is_missing() -> None:
    scene = two_light_on_each()
    capacity = scene.capacity()
    lines = [line for _ in range(5) for line in scene.tick(capacity=capacity, light=5, heavy=1)]
    assert lines == ["light: no node for 1 more: 1 CPU short on every node"]


@pytest.mark.parametrize("light", [0, 3, 6, 9])
@pytest.mark.parametrize("heavy", [0, 1, 2])
def test_whatever_was_granted_before_what_is_granted_now_comes_to_be_and_rests(light: int, heavy: int) -> None:
    scene = Cluster(4.0, 4.0, 3.0, heavy=3.0)
    for before in ((11, 0), (2, 3), (5, 1)):
        scene.play(12, light=before[0], heavy=before[1])
        scene.play(15, light=light, heavy=heavy)
        granted = (min(light, 11 - 3 * heavy), heavy)
        assert scene.counts() == granted
        assert scene.rests(light=light, heavy=heavy)


def test_workers_leave_a_node_that_ray_removes_and_start_elsewhere() -> None:
    scene = two_light_on_each()
    scene.draining = frozenset({"n0"})
    scene.play(6, light=4)
    assert scene.at("n0") == Counter()
    assert scene.at("n1") == Counter(light=4)
    assert scene.rests(light=4, heavy=0)


def test_a_roll_out_surges_only_into_room_that_nobody_was_granted() -> None:
    scene = Cluster(4.0, light=1.0, heavy=2.0)
    scene.play(14, light=2)
    old = set(scene.pool.workers)
    scene.applied(*scene.words, code="new")
    scene.play(6, light=2, heavy=1)
    assert scene.counts()[1] == 1, "the granted worker came first"
    scene.play(40, light=2, heavy=1)
    assert scene.counts() == (2, 1)
    assert not old & set(scene.pool.workers)


@pytest.mark.parametrize(
    ("heavy_cpus", "cpus"),
    [
        (cpus, nodes)
        for cpus in (0.5, 2.0, 4.0, 5.0)
        for nodes in ((4.0, 4.0), (5.0, 3.0), (8.0,))
        if cpus <= max(nodes)
    ],
)
def test_a_roll_out_to_another_size_finds_room_beside_workers_of_the_former(
    heavy_cpus: float, cpus: tuple[float, ...]
) -> None:
    scene = Cluster(*cpus, light=1.0, heavy=1.0)
    scene.play(14, light=2, heavy=6)
    assert scene.counts() == (2, 6)
    scene.words = (*scene.words, f"topics.heavy.worker.num_cpus={heavy_cpus}")
    scene.applied(*scene.words)
    scene.play(120, light=2, heavy=6)
    assert all(scene.pool.sizes[worker]["CPU"] == heavy_cpus for worker in scene.pool.workers if "heavy" in worker)
    shares = scene.shares(scene.capacity(), light=2, heavy=6)
    assert scene.counts() == (shares["light"].granted, shares["heavy"].granted)
    assert scene.rests(light=2, heavy=6)


@pytest.mark.parametrize("light", [5, 6, 7])
def test_workers_of_the_former_size_work_on_as_far_as_it_goes_while_none_of_the_new_has_a_place(light: int) -> None:
    scene = Cluster(4.0, 4.0, light=1.0, heavy=1.0, words=("topics.light.weight=20",))
    scene.play(14, light=2, heavy=3)
    scene.words = (*scene.words, "topics.heavy.worker.num_cpus=4.0")
    scene.applied(*scene.words)
    scene.play(60, light=light, heavy=3)
    assert scene.counts() == (light, min(3, 8 - light))
    assert scene.rests(light=light, heavy=3)
    scene.play(60, light=2, heavy=3)
    assert scene.counts() == (2, 1), "the new size has its place when others leave it"
    assert {scene.pool.sizes[worker]["CPU"] for worker in scene.pool.workers if "heavy" in worker} == {4.0}
    assert scene.rests(light=2, heavy=3)


def test_what_a_worker_was_started_with_is_what_it_holds_until_it_is_gone() -> None:
    scene = Scene("topics.heavy.worker.num_cpus=1")
    scene.up(heavy=4)
    scene.applied("topics.heavy.worker.num_cpus=2")
    scene.fleet.refresh(scene.now_s)
    scene.fleet.capacity(scene.now_s)
    assert scene.view.asked[-1] == ({"node": {"CPU": 4.0}}, [])


def test_nobody_of_the_old_makes_room_for_others_before_the_new_code_has_shown_that_it_works() -> None:
    scene = Cluster(2.0, light=1.0, heavy=4.0)
    scene.play(14, light=2)
    old, scene.cpus = set(scene.pool.workers), {"n0": 4.0, "n1": 2.0}
    assert scene.at("n0")["light"] == 2, "in the way of a heavy one"
    scene.applied(*scene.words, code="new")
    for _ in range(20):
        for worker in set(scene.pool.workers) - old:
            scene.fails(worker)
            scene.gone(worker)
        scene.tick(capacity=scene.capacity(), light=2, heavy=1)
    assert old <= set(scene.pool.workers)
    assert not old & {worker for worker, _ in scene.pool.drained}
    assert scene.fleet.lack("heavy") == "no node for 1 more: 2 CPU short on every node"


def test_a_worker_without_a_process_for_half_a_minute_holds_nothing() -> None:
    """Others took the room between the decision and the start: counted as ours it would be granted for two minutes."""
    scene = Scene("topics.heavy.worker.num_cpus=2")
    scene.tick(heavy=2)
    here, waiting = scene.pool.started
    scene.says(here)
    scene.pool.processless = {waiting}
    scene.fleet.capacity(scene.now_s + PLACED_WITHIN_S)
    scene.fleet.capacity(scene.now_s + PLACED_WITHIN_S + 1.0)
    assert scene.view.asked == [({"node": {"CPU": 4.0}}, []), ({"node": {"CPU": 2.0}}, [])]


def test_a_canary_makes_room_for_others_not_the_old_that_do_the_work() -> None:
    scene = Cluster(4.0, light=1.0, heavy=1.0)
    scene.play(14, light=2)
    old = set(scene.pool.workers)
    scene.applied(*scene.words, code="new")
    scene.mute = lambda worker: worker.startswith("light") and worker not in old
    scene.play(3, light=2)
    assert scene.counts()[0] == 4, "two canaries"
    for _ in range(60):
        scene.play(1, light=2, heavy=2)
        assert old - scene.asked_s.keys(), "nobody works"
    assert scene.counts() == (2, 2)


@pytest.mark.parametrize(("cpus", "before", "now"), [(2.0, 2.0, 1.0), (4.0, 4.0, 1.0), (4.0, 2.0, 1.0)])
def test_smaller_workers_take_the_room_of_the_large_ones_they_replace(cpus: float, before: float, now: float) -> None:
    scene = Cluster(cpus, light=before)
    scene.play(20, light=9)
    scene.applied(f"topics.light.worker.num_cpus={now}")
    scene.play(120, light=9)
    assert {scene.pool.sizes[worker]["CPU"] for worker in scene.pool.workers} == {now}
    assert scene.counts()[0] == int(cpus / now)


def test_a_failed_start_is_forgotten_once_nobody_is_missing() -> None:
    scene = two_light_on_each()
    scene.play(15, light=4)
    scene.play(1, light=5)
    failed = scene.pool.workers[-1]
    scene.fails(failed)
    scene.gone(failed)
    scene.play(60, light=4, heavy=1)
    assert scene.fleet.start_failure_count("light") == 1, "a try may be due any moment"
    scene.play(30, light=4, heavy=1)
    assert scene.fleet.start_failure_count("light") == 0
    assert scene.fleet.start_error("light") is None
    assert scene.counts() == (4, 1)


def test_what_looks_have_no_time_to_search_for_is_said_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_MOST_SEARCHES", 0)
    scene = two_light_on_each()
    scene.cpus = {"n0": 3.0, "n1": 3.0}
    said = [line for _ in range(30) for line in scene.tick(capacity=scene.capacity(), light=4, heavy=1)]
    assert said == ["heavy: no node for 1 more: 3 CPU short on every node"]
    assert scene.fleet.lack("heavy") is not None


def test_no_old_worker_leaves_where_that_makes_no_room_for_a_larger_one() -> None:
    """Its place is where another topic's old workers are, which wait for code that does not start."""
    scene = Cluster(2.0, 4.0, light=1.0, heavy=1.0)
    scene.play(20, light=4, heavy=2)
    assert scene.at("n0") == Counter(heavy=2)
    old = set(scene.pool.workers)
    scene.applied("topics.light.worker.num_cpus=1", "topics.heavy.worker.num_cpus=3", code="new")
    for _ in range(600):
        for worker in [worker for worker in scene.pool.workers if worker not in old and worker.startswith("light")]:
            scene.fails(worker)
            scene.gone(worker)
        scene.play(1, light=4, heavy=2)
        assert scene.counts()[1] > 0
