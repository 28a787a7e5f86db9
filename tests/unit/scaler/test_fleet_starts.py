from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from hermes_ray.core.model import Capacity, Node
from hermes_ray.scaler.lifecycle import START_DEADLINE_S
from hermes_ray.scaler.plan import worker_spec
from hermes_ray.scaler.start_backoff import EARLY_DEATH_S, MAX_BACKOFF_S
from hermes_ray.worker.report import UnknownReport
from tests.support.fleet_scene import Scene


def test_what_is_missing_is_started_once() -> None:
    scene = Scene()
    assert scene.tick(heavy=2, light=1) == []
    assert sorted(name.partition("/")[0] for name in scene.pool.started) == ["heavy", "heavy", "light"]
    scene.tick(heavy=2, light=1)
    assert len(scene.pool.started) == 3, "workers on their way count"


def test_a_worker_is_told_all_it_needs() -> None:
    scene = Scene("topics.heavy.worker.prefetch=7", "topics.heavy.queue=q", "topics.heavy.retry.max_attempts=2")
    spec = worker_spec(scene.plan, "heavy")
    assert (spec.queue.topic, spec.queue.queue, spec.queue.max_attempts, spec.prefetch) == ("heavy", "q", 2, 7)
    assert spec.queue.rungs_ms == (1000, 1414)
    assert spec.queue.routes == {"light": "light", "heavy": "q"}
    assert spec.concurrency == 4


def test_only_what_fits_is_started_and_the_heavier_topic_first() -> None:
    scene = Scene("topics.heavy.worker.num_cpus=1", "topics.light.worker.num_cpus=1")
    three = Capacity(nodes=(Node(node_id="node", available={"CPU": 3}),))
    scene.tick(capacity=three, heavy=2, light=5)
    assert sorted(name.partition("/")[0] for name in scene.pool.started) == ["heavy", "heavy", "light"]
    scene.tick(capacity=three, heavy=2, light=5)
    assert len(scene.pool.started) == 3, "those on their way hold their room"


def test_a_draining_worker_holds_its_room_until_it_is_gone() -> None:
    scene = Scene("topics.heavy.worker.num_cpus=1", "topics.light.worker.num_cpus=1")
    (old,) = scene.up(light=1)
    full = Capacity(nodes=(Node(node_id="node", available={"CPU": 1}),))
    scene.tick(capacity=full, heavy=1)
    assert [worker for worker, _ in scene.pool.drained] == [old]
    assert scene.pool.started == [old]
    scene.gone(old)
    scene.tick(capacity=Capacity(nodes=(Node(node_id="node", available={"CPU": 1}),)), heavy=1)
    assert len(scene.pool.started) == 2


def test_without_a_word_from_ray_nothing_is_started_but_drains_go_on() -> None:
    scene = Scene()
    scene.up(light=2)
    scene.tick(capacity=None, heavy=3, light=1)
    assert len(scene.pool.started) == 2
    assert len(scene.pool.drained) == 1


def test_a_failed_start_is_told_with_its_cause_and_tried_again_with_growing_pauses() -> None:
    scene, starts_s, lines = Scene(), list[float](), list[str]()
    for _ in range(900):
        started = len(scene.pool.started)
        lines += scene.tick(heavy=1)
        for worker in scene.pool.started[started:]:
            starts_s.append(scene.now_s)
            scene.fails(worker)
            scene.gone(worker)
    pauses_s = [later - earlier for earlier, later in pairwise(starts_s)]
    assert pauses_s == [6.0, 11.0, 21.0, 41.0, 81.0, 161.0, 301.0], "the back-off after the tick that told of it"
    assert "heavy: worker heavy/00000000 did not start: ImportError: no module; next try in 5 s" in lines
    assert len(lines) == len(starts_s)
    assert scene.fleet.start_error("heavy") == "ImportError: no module"
    assert scene.fleet.start_error("light") is None


def test_the_cause_is_told_although_the_actor_is_gone_at_the_same_moment() -> None:
    scene = Scene()
    scene.tick(heavy=1)
    (worker,) = scene.pool.started

    def dies_after(look: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
        def seen() -> list[Any]:
            answer = look()
            if worker in scene.pool.workers:
                scene.fails(worker)
                scene.gone(worker)
            return answer

        return seen

    scene.pool.living = dies_after(scene.pool.living)  # type: ignore[method-assign]
    scene.pool.start_results = dies_after(scene.pool.start_results)  # type: ignore[method-assign]
    (line,) = scene.tick(heavy=1)
    assert "ImportError: no module" in line
    assert scene.tick(heavy=1) == []


def test_after_a_failure_one_worker_at_a_time_shows_whether_the_others_can_start() -> None:
    scene = Scene()
    scene.tick(heavy=4)
    for worker in list(scene.pool.started):
        scene.fails(worker)
        scene.gone(worker)
    scene.tick(heavy=4)
    assert len(scene.pool.started) == 4
    scene.tick(after_s=MAX_BACKOFF_S, heavy=4)
    assert len(scene.pool.started) == 5
    for _ in range(5):
        scene.tick(heavy=4)
    assert len(scene.pool.started) == 5, "while it is on trial no other is started"
    scene.says(scene.pool.started[4])
    scene.tick(after_s=EARLY_DEATH_S, heavy=4)
    assert len(scene.pool.started) == 8, "it stood the trial"
    assert scene.fleet.start_error("heavy") is None


def test_a_trial_that_is_drained_again_lets_the_next_one_try() -> None:
    scene = Scene()
    scene.tick(heavy=1)
    scene.fails(scene.pool.started[0])
    scene.gone(scene.pool.started[0])
    scene.tick(heavy=1)
    scene.tick(after_s=10.0, heavy=1)
    scene.tick(heavy=0)
    scene.gone(scene.pool.started[1])
    scene.tick(heavy=1)
    assert len(scene.pool.started) == 3


def test_a_worker_that_has_long_been_well_does_not_excuse_starts_that_fail_now() -> None:
    """Say the file of the handler was broken since: that must not become a start each second."""
    scene = Scene()
    (well,) = scene.up(heavy=1)
    for _ in range(30):
        started = len(scene.pool.started)
        scene.says(well)
        scene.tick(heavy=2)
        for worker in scene.pool.started[started:]:
            scene.fails(worker)
            scene.gone(worker)
    assert len(scene.pool.started) <= 1 + 3, "at 0, 5 and 15 s"
    assert scene.fleet.start_error("heavy") == "ImportError: no module"


def test_a_failing_topic_keeps_no_other_from_starting() -> None:
    scene = Scene()
    scene.tick(heavy=1)
    scene.fails(scene.pool.started[0])
    scene.gone(scene.pool.started[0])
    scene.tick(heavy=1, light=3)
    assert len(scene.pool.started) == 4


@pytest.mark.parametrize("age_s", [1.0, EARLY_DEATH_S + 5])
def test_a_worker_that_dies_young_has_failed_to_start_and_an_old_one_is_replaced_at_once(age_s: float) -> None:
    scene = Scene()
    scene.tick(heavy=1)
    (worker,) = scene.pool.started
    scene.says(worker, running=2)
    scene.tick(after_s=age_s, heavy=1)
    scene.gone(worker)
    (line,) = scene.tick(heavy=1)
    if age_s < EARLY_DEATH_S:
        assert line == f"heavy: worker {worker} failed: its process died within 10 s; the next starts in 5 s"
        assert len(scene.pool.started) == 1
    else:
        assert line == f"heavy: worker {worker} died; what it held goes back to the queue"
        assert len(scene.pool.started) == 2
    assert (scene.fleet.killed_count, scene.fleet.drained_count) == (2, 0)


def test_an_adopted_worker_that_dies_soon_after_was_no_failed_start() -> None:
    scene = Scene()
    scene.pool.workers = ["heavy/old"]
    scene.tick(heavy=1)
    scene.says("heavy/old")
    scene.gone("heavy/old")
    (line,) = scene.tick(heavy=1)
    assert line == "heavy: worker heavy/old died; what it held goes back to the queue"
    assert len(scene.pool.started) == 1


def test_adopted_workers_are_not_started_again() -> None:
    scene = Scene()
    scene.pool.workers = ["heavy/old1", "heavy/old2"]
    scene.tick(heavy=2)
    assert scene.pool.started == []
    assert scene.pool.drained == []


def test_a_worker_that_never_comes_up_is_taken_back_and_counts_as_one_failure() -> None:
    scene = Scene()
    scene.tick(heavy=1)
    (worker,) = scene.pool.started
    assert scene.tick(after_s=START_DEADLINE_S, heavy=1) == []
    lines = [line for _ in range(3) for line in scene.tick(heavy=1)]
    assert lines == [f"heavy: worker {worker} did not start: not up after 120 s; next try in 5 s"]
    assert scene.pool.killed[0] == worker
    scene.gone(worker)
    assert scene.tick(heavy=1) == []
    scene.tick(after_s=2.0, heavy=1)
    assert len(scene.pool.started) == 2


def test_a_worker_whose_reports_we_cannot_read_is_alive_and_replaced_first() -> None:
    scene = Scene()
    scene.pool.workers = ["heavy/new", "heavy/old"]
    scene.tick(heavy=2)
    for _ in range(int(START_DEADLINE_S / 30) + 2):
        scene.now_s += 29.0
        scene.fleet.roster.take(UnknownReport(worker="heavy/old", version=99), scene.now_s)
        scene.says("heavy/new", held=1, acked=1)
        for worker in scene.pool.started:
            scene.says(worker, held=1, acked=1)
        scene.tick(heavy=2)
    assert scene.pool.killed == []
    assert len(scene.pool.started) == 1, "its replacement"
    assert {worker for worker, _ in scene.pool.drained} == {"heavy/old"}


def test_capacity_is_asked_for_with_who_lives_where_and_who_is_nowhere_yet() -> None:
    scene = Scene("topics.light.worker.num_cpus=1", "topics.heavy.worker.num_cpus=4")
    scene.tick(heavy=2, light=2)
    first, second = (name for name in scene.pool.started if name.startswith("heavy"))
    scene.says(first, node_id="one")
    scene.says(second, node_id="two")
    light = next(name for name in scene.pool.started if name.startswith("light"))
    scene.says(light, node_id="two")
    assert scene.fleet.capacity(scene.now_s) is None
    ours, unplaced = scene.view.asked[0]
    assert ours == {"one": {"CPU": 4.0}, "two": {"CPU": 5.0}, "node": {"CPU": 1.0}}, "where it was asked for"
    assert unplaced == []
    scene.pool.workers.append("light/abcdef01")
    scene.tick(capacity=None, heavy=2, light=3)
    scene.fleet.capacity(scene.now_s)
    assert scene.view.asked[1][1] == [{"CPU": 1.0}], "one that is found, and has not said where"


def test_the_pause_after_a_worker_that_consumed_and_died_does_not_grow() -> None:
    """The message that ended it will end the next: a growing pause would leave the others waiting."""
    scene = Scene()
    lines: list[str] = []
    for _ in range(60):
        lines += scene.tick(heavy=1)
        for worker in list(scene.pool.workers):
            scene.says(worker)
            scene.gone(worker)
    failed = [line for line in lines if "died" in line]
    assert len(failed) > 6
    assert all(line.endswith("the next starts in 5 s") for line in failed)


def test_a_start_that_failed_holds_no_room_although_ray_lists_it_for_a_moment() -> None:
    scene = Scene("topics.light.worker.num_cpus=1", "topics.heavy.worker.num_cpus=1")
    one = Capacity(nodes=(Node(node_id="node", available={"CPU": 1}),))
    scene.tick(capacity=one, light=1)
    scene.fails(scene.pool.started[0])
    scene.tick(capacity=one, heavy=1)
    assert [worker.partition("/")[0] for worker in scene.pool.started] == ["light", "heavy"]
    scene.fleet.capacity(scene.now_s)
    assert scene.view.asked[-1] == ({"node": {"CPU": 1.0}}, [])


def test_a_start_that_was_taken_back_holds_no_room_although_ray_lists_it_for_a_moment() -> None:
    """Counted as ours at that moment, the room of others would be granted again, and taken back, every 42 s."""
    scene = Scene("topics.light.worker.num_cpus=1")
    scene.tick(light=1)
    scene.tick(light=0)
    for _ in range(6):
        scene.tick(light=0)
    assert scene.pool.killed == scene.pool.started
    scene.fleet.capacity(scene.now_s)
    assert scene.view.asked[-1] == ({}, [])
