"""No state without a deadline: what becomes of workers that hang, are silent, cannot consume or do not go."""

from __future__ import annotations

import pytest

from hermes_ray.core.resources import Resources
from hermes_ray.scaler.lifecycle import DRAIN_GRACE_S, LAST_WORDS_S, REPLACED_AFTER_S
from hermes_ray.scaler.workforce import ASK_AGAIN_S
from hermes_ray.worker.spec import WorkerSpec
from tests.support.fleet_scene import Scene

KILLED_AFTER_S = 900


def play(scene: Scene, seconds: int, *, heavy: int, silent: tuple[str, ...] = ()) -> list[str]:
    """Every second each living worker reports, but the silent ones; drained ones are gone at once."""
    lines = []
    for _ in range(seconds):
        for worker in list(scene.pool.workers):
            if worker in dict(scene.pool.drained) and worker not in silent:
                scene.gone(worker)
            elif worker not in silent:
                scene.says(worker)
        lines += scene.tick(heavy=heavy)
    return lines


def test_a_worker_that_is_wedged_in_its_drain_is_killed_by_the_deadline_that_was_given_first() -> None:
    scene = Scene("topics.heavy.worker.drain_timeout_s=100")
    (worker,) = scene.up(heavy=1)
    asked_s = scene.now_s + 1
    for _ in range(int(100 + DRAIN_GRACE_S) + 1):
        scene.tick()
    assert len(scene.pool.drained) > 10, "the order is repeated, since it does not show"
    assert scene.pool.killed == []
    scene.says(worker)
    scene.tick()
    assert scene.pool.killed == [worker]
    assert scene.pool.ended == [], "it answers, and will do as Ray says"
    assert scene.now_s - asked_s <= 100 + DRAIN_GRACE_S + 2


def test_a_roll_out_goes_on_beside_a_worker_that_does_not_drain() -> None:
    scene = Scene("topics.heavy.worker.num_cpus=0")
    old = scene.up(heavy=3)
    scene.applied("topics.heavy.worker.num_cpus=0", code="new")
    play(scene, 60, heavy=3, silent=(old[0],))
    assert set(scene.pool.workers) - {old[0]} == set(scene.pool.started) - set(old)
    assert len(scene.pool.workers) == 4


def test_a_silent_worker_is_said_replaced_and_killed_in_turn() -> None:
    scene = Scene()
    old = scene.up(heavy=2)
    silent = (old[0],)
    play(scene, 1, heavy=2)
    play(scene, 2, heavy=2, silent=silent)
    assert scene.fleet.team("heavy", scene.now_s).silent_count == 0
    play(scene, 2, heavy=2, silent=silent)
    team = scene.fleet.team("heavy", scene.now_s)
    assert (team.silent_count, len(team.staying)) == (1, 2)
    record = scene.fleet.roster.get(old[0])
    assert record is not None
    assert (scene.fleet.trouble(record, scene.now_s) or "").startswith("silent for")
    play(scene, int(REPLACED_AFTER_S) - 5, heavy=2, silent=silent)
    assert len(scene.pool.started) == 2
    play(scene, 3, heavy=2, silent=silent)
    assert len(scene.pool.started) == 3
    assert scene.fleet.team("heavy", scene.now_s).counts.observed == 2
    lines = play(scene, KILLED_AFTER_S - int(REPLACED_AFTER_S), heavy=2, silent=silent)
    assert set(scene.pool.killed) == {old[0]}
    assert scene.pool.ended == [(old[0], "node", 1)], "Ray's kill may not reach it"
    assert lines == [
        f"heavy: worker {old[0]} has been silent for 900 s and is killed; what it held goes back to the queue"
    ]
    scene.gone(old[0])
    assert scene.tick(heavy=2) == [], "its end is no surprise"
    assert (scene.fleet.deaths["heavy"], len(scene.pool.started)) == (0, 3)


def test_a_worker_that_speaks_again_is_taken_back_and_its_replacement_or_another_goes() -> None:
    scene = Scene()
    old = scene.up(heavy=2)
    play(scene, int(REPLACED_AFTER_S) + 5, heavy=2, silent=(old[0],))
    assert len(scene.pool.workers) == 3
    play(scene, 3, heavy=2)
    assert len(scene.pool.workers) == 2
    assert scene.pool.killed == []


def test_at_report_intervals_of_forty_seconds_nobody_is_called_silent_who_is_not() -> None:
    scene = Scene()
    scene.up(heavy=1)
    scene.fleet.report_interval_s = 40.0
    for _ in range(20):
        scene.says(scene.pool.started[0])
        for _ in range(44):
            scene.tick(heavy=1)
            assert scene.fleet.team("heavy", scene.now_s).silent_count == 0
    assert (len(scene.pool.started), scene.pool.killed) == (1, [])


def test_a_scaler_that_was_away_blames_nobody_for_the_silence_it_could_not_hear() -> None:
    scene = Scene()
    scene.up(heavy=2)
    scene.now_s += 3_600.0
    scene.applied()
    for _ in range(30):
        scene.tick(heavy=2)
    assert (len(scene.pool.started), scene.pool.killed, scene.pool.drained) == (2, [], [])


def test_where_the_broker_refuses_the_scaler_too_it_is_said_and_nobody_is_replaced_for_it() -> None:
    scene = Scene()
    scene.up(heavy=2)
    for _ in range(300):
        scene.now_s += 1.0
        for worker in scene.pool.workers:
            scene.says(worker, phase="connecting", lost_reason="404 NOT_FOUND - no queue 'heavy'")
        scene.fleet.refresh(scene.now_s, ["heavy"], ["heavy"])
        scene.fleet.reconcile({"heavy": 2}, None, scene.now_s)
    assert scene.fleet.team("heavy", scene.now_s).not_consuming_count == 2
    assert (scene.pool.drained, scene.fleet.start_failure_count("heavy")) == ([], 0)


def test_a_worker_that_cannot_consume_is_said_then_drained_and_replaced_with_pauses() -> None:
    scene = Scene("topics.heavy.worker.drain_timeout_s=10")
    scene.tick(heavy=2)
    refused = "403 ACCESS_REFUSED - read access to queue 'heavy' refused"
    lines = []
    for second in range(300):
        for worker in list(scene.pool.workers):
            if worker in dict(scene.pool.drained):
                scene.gone(worker)
            else:
                scene.says(worker, phase="connecting", lost_reason=refused)
        lines += scene.tick(heavy=2)
        if second == 5:
            assert scene.fleet.team("heavy", scene.now_s).not_consuming_count == 2
            assert scene.pool.drained == []
    assert refused in lines[0]
    assert "did not consume for 60 s" in lines[0]
    assert {timeout_s for _, timeout_s in scene.pool.drained} == {10.0}, "the topic's own"
    assert 4 <= len(scene.pool.started) <= 8, "one shows whether the others can"
    assert len(scene.pool.workers) <= 1
    for _ in range(100):
        play(scene, 1, heavy=2)
    assert len(scene.pool.workers) == 2, "once it may, it does"


@pytest.mark.parametrize("outage_s", [30, 600])
def test_nobody_is_blamed_or_replaced_while_the_broker_is_away_nor_just_after(outage_s: int) -> None:
    scene = Scene()
    old = scene.up(heavy=3)
    for _ in range(outage_s):
        for worker in old:
            scene.says(worker, phase="connecting", lost_reason="Connection refused")
        scene.now_s += 1.0
        assert scene.fleet.refresh(scene.now_s, unreachable={"heavy"}) == []
        scene.fleet.reconcile({"heavy": 3, "light": 0}, None, scene.now_s)
    for _ in range(20):
        for worker in old:
            scene.says(worker, phase="connecting", lost_reason="Connection refused")
        scene.tick(heavy=3)
    play(scene, 60, heavy=3)
    assert (scene.pool.started, scene.pool.drained, scene.pool.killed) == (old, [], [])


def test_a_drained_worker_whose_last_call_was_lost_is_killed() -> None:
    scene = Scene()
    (worker,) = scene.up(heavy=1)
    scene.tick()
    scene.says(worker, phase="drained")
    scene.tick(after_s=LAST_WORDS_S - 1)
    assert scene.pool.killed == []
    scene.tick(after_s=2.0)
    assert scene.pool.killed == [worker]
    for _ in range(int(ASK_AGAIN_S) + 2):
        scene.tick()
    assert len(scene.pool.killed) == 2, "and again, should that be lost too"


def test_an_order_that_cannot_be_given_costs_none_of_the_others() -> None:
    scene = Scene()
    scene.up(heavy=2, light=2)
    drain, refused = scene.pool.drain, scene.pool.started[0]

    def flaky(worker: str, timeout_s: float) -> None:
        if worker == refused:
            raise RuntimeError("the actor is out of reach")
        drain(worker, timeout_s)

    scene.pool.drain = flaky  # type: ignore[method-assign]
    lines = scene.tick()
    assert {worker for worker, _ in scene.pool.drained} == set(scene.pool.started) - {refused}
    assert [line for line in lines if "out of reach" in line] == [
        f"{refused.partition('/')[0]}: an order to worker {refused} could not be given: the actor is out of reach"
    ]


def test_a_start_that_cannot_be_asked_for_is_a_failed_start_of_that_topic_alone() -> None:
    scene = Scene()
    start = scene.pool.start

    def flaky(spec: WorkerSpec, topic: str, size: Resources, node_id: str | None = None) -> str:
        if topic == "heavy":
            raise ValueError("a name that is taken")
        return start(spec, topic, size, node_id)

    scene.pool.start = flaky  # type: ignore[method-assign]
    lines = scene.tick(heavy=2, light=2)
    assert [worker.partition("/")[0] for worker in scene.pool.started] == ["light", "light"]
    assert lines == ["heavy: no worker could be asked for: a name that is taken; next try in 5 s"]
    assert scene.fleet.failed_starts["heavy"] == 1


def test_a_start_that_ray_has_not_placed_and_nobody_wants_any_more_is_taken_back() -> None:
    """Its drain order waits for a constructor that may never run, and until then its room is nobody's."""
    scene = Scene()
    scene.tick(heavy=1)
    (waiting,) = scene.pool.started
    lines = [line for _ in range(6) for line in scene.tick(heavy=0)]
    assert scene.pool.killed == [waiting]
    scene.gone(waiting)
    assert lines + scene.tick(heavy=0) == []
    assert scene.fleet.failed_starts == {}


def test_a_worker_of_before_that_never_reports_is_silent_and_no_start_that_failed() -> None:
    scene = Scene("topics.heavy.worker.silent_timeout_s=300")
    scene.pool.workers.append("heavy/0000abcd")
    lines = [line for _ in range(290) for line in scene.tick(heavy=1)]
    assert (scene.pool.killed, scene.fleet.failed_starts) == ([], {})
    lines += [line for _ in range(20) for line in scene.tick(heavy=1)]
    assert scene.pool.killed[0] == "heavy/0000abcd"
    assert "has been silent for 300 s" in lines[-1]
