"""What a fleet does with workers of one before it: adopted, restored, of another version or of no topic any more."""

from __future__ import annotations

from msgspec import structs

from hermes_ray.core.model import Capacity, Node
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.lifecycle import DRAIN_GRACE_S
from hermes_ray.scaler.memory import Changes, Header, WorkerMemory, decode, encode
from hermes_ray.scaler.plan import worker_spec
from hermes_ray.scaler.roster import Roster
from hermes_ray.scaler.start_backoff import EARLY_DEATH_S
from hermes_ray.scaler.workforce import ASK_AGAIN_S, LEAVING_S
from hermes_ray.worker.report import UnknownReport
from tests.support.fleet_scene import Scene

RETRY = "topics.heavy.retry.max_attempts=2"


def unreadable(scene: Scene, worker: str) -> None:
    """It reports in a way that this version does not know."""
    scene.fleet.roster.take(UnknownReport(worker=worker, version=99), scene.now_s)


def through_a_file(scene: Scene) -> list[WorkerMemory]:
    changes = Changes(header=Header(), workers=scene.fleet.roster.remembered())
    return decode(encode(changes)).workers


def test_restored_workers_of_the_same_plan_are_left_alone() -> None:
    scene = Scene()
    old = scene.up(heavy=2, light=1)
    scene.applied()
    for _ in range(10):
        scene.tick(heavy=2, light=1)
    assert (scene.pool.started, scene.pool.drained, scene.pool.adapted) == (old, [], [])


def test_restored_workers_of_other_code_are_replaced_before_they_have_said_a_word() -> None:
    scene = Scene()
    old = scene.up(heavy=1)
    scene.applied(code="new")
    scene.tick(heavy=1)
    assert len(scene.pool.started) == 2
    assert scene.fleet.is_outdated(scene.fleet.roster.all()[0])
    assert scene.pool.workers[0] == old[0]


def test_adopted_workers_are_replaced_once_they_say_that_they_are_of_other_code() -> None:
    """Nothing is known of them without a memory: they may well be of this code."""
    scene = Scene()
    (old,) = scene.up(heavy=1)
    scene.applied(code="new")
    scene.fleet = Fleet(scene.plan, scene.pool, scene.view)
    for _ in range(5):
        scene.tick(heavy=1)
    assert scene.pool.started == [old]
    scene.says(old)
    scene.tick(heavy=1)
    assert len(scene.pool.started) == 2


def test_a_memory_that_went_through_a_file_restores_the_same_workers() -> None:
    scene = Scene("topics.heavy.worker.drain_timeout_s=100")
    old = scene.up(heavy=2)
    scene.tick(heavy=1)
    kept = through_a_file(scene)
    scene.fleet = Fleet(scene.plan, scene.pool, scene.view, Roster({}, kept, scene.now_s))
    scene.tick(heavy=1)
    assert [record.worker for record in scene.fleet.roster.all()] == old
    assert [record.is_draining for record in scene.fleet.roster.all()].count(True) == 1
    assert scene.pool.started == old, "a draining one is not counted, the other is"


def test_a_drain_asked_for_by_the_scaler_before_is_seen_through() -> None:
    scene = Scene("topics.heavy.worker.drain_timeout_s=100")
    (worker,) = scene.up(heavy=1)
    scene.tick()
    scene.applied("topics.heavy.worker.drain_timeout_s=100")
    scene.tick(after_s=ASK_AGAIN_S + 1)
    assert [(name, round(timeout_s)) for name, timeout_s in scene.pool.drained] == [(worker, 100), (worker, 94)]
    scene.says(worker, phase="draining", running=1)
    scene.tick(after_s=94 + DRAIN_GRACE_S)
    assert scene.pool.killed == []
    scene.tick(after_s=2)
    assert scene.pool.killed == [worker]
    scene.gone(worker)
    assert scene.tick() == [], "its end is no surprise"
    assert (scene.fleet.drained_count, scene.fleet.deaths["heavy"]) == (1, 0)


def test_a_restored_worker_that_died_meanwhile_is_told_and_replaced() -> None:
    scene = Scene()
    (worker,) = scene.up(heavy=1)
    scene.applied()
    scene.gone(worker)
    (line,) = scene.tick(heavy=1)
    assert line == f"heavy: worker {worker} died; what it held goes back to the queue"
    assert len(scene.pool.started) == 2
    assert scene.fleet.deaths["heavy"] == 1


def test_workers_whose_reports_we_cannot_read_are_alive_and_replaced_before_others_of_old_code() -> None:
    scene = Scene()
    scene.pool.workers = ["heavy/known", "heavy/unreadable"]
    scene.tick(heavy=2)
    scene.says("heavy/known", revision="old", running=1, held=1)
    unreadable(scene, "heavy/unreadable")
    scene.tick(heavy=2)
    new = list(scene.pool.started)
    assert (len(new), scene.pool.killed, scene.pool.drained) == (2, [], [])
    unreadable(scene, "heavy/unreadable")
    scene.says("heavy/known", revision="old", running=1, held=1)
    scene.says(new[0], acked=1)
    scene.tick(heavy=2)
    assert [worker for worker, _ in scene.pool.drained] == ["heavy/unreadable"]


def test_where_no_worker_can_be_read_all_are_replaced_one_by_one() -> None:
    scene = Scene()
    old = [f"heavy/{n}" for n in range(3)]
    scene.pool.workers = list(old)
    for _ in range(40):
        for worker in list(scene.pool.workers):
            if worker not in old:
                scene.says(worker, acked=1)
            elif worker in [name for name, _ in scene.pool.drained]:
                scene.gone(worker)
            else:
                unreadable(scene, worker)
        scene.tick(heavy=3)
        assert len([w for w in scene.pool.workers if w not in dict(scene.pool.drained)]) in (3, 4, 5)
    assert len(scene.pool.workers) == 3
    assert not set(old) & set(scene.pool.workers)


def test_a_restored_worker_that_reports_in_another_way_from_now_on_is_replaced_and_what_it_did_stays_counted() -> None:
    scene = Scene()
    (old,) = scene.up(heavy=1)
    scene.says(old, acked=7)
    counters = {"heavy": scene.fleet.roster.counters("heavy")}
    kept = [structs.replace(memory, report=None) for memory in through_a_file(scene)]
    scene.fleet = Fleet(scene.plan, scene.pool, scene.view, Roster(counters, kept, scene.now_s))
    unreadable(scene, old)
    scene.tick(heavy=1)
    new = scene.pool.started[1]
    scene.says(new, acked=2)
    scene.tick(heavy=1)
    assert [worker for worker, _ in scene.pool.drained] == [old]
    scene.gone(old)
    assert scene.tick(heavy=1) == []
    assert scene.fleet.roster.counters("heavy").settlements.acked == 9


def test_changed_retries_and_routes_are_told_to_living_workers_once_and_again_until_it_shows() -> None:
    scene = Scene()
    (heavy, light) = scene.up(heavy=1, light=1)
    scene.applied(RETRY)
    before = {worker: spec.queue.settings for worker, spec in scene.pool.specs.items()}
    for _ in range(5):
        scene.tick(heavy=1, light=1)
    assert scene.pool.adapted == [heavy], "light's own settings and the routes are as before"
    for _ in range(2):
        scene.says(heavy, settings=before[heavy])
        scene.tick(heavy=1, light=1)
    assert scene.pool.adapted == [heavy, heavy]
    scene.says(heavy, settings=worker_spec(scene.plan, "heavy").queue.settings)
    for _ in range(20):
        scene.tick(heavy=1, light=1)
    assert scene.pool.adapted == [heavy, heavy]
    assert scene.pool.started == [heavy, light]
    assert scene.pool.drained == []


def test_a_new_topic_is_a_new_route_for_everybody() -> None:
    scene = Scene()
    old = scene.up(heavy=2, light=1)
    scene.applied("topics.light.queue=elsewhere")
    scene.tick(heavy=2, light=1)
    heavy = [worker for worker in old if worker.startswith("heavy")]
    assert scene.pool.adapted == heavy, "light's own worker is replaced instead"


def test_who_drains_or_is_to_be_replaced_is_told_of_no_changed_retries() -> None:
    scene = Scene()
    scene.up(heavy=2)
    scene.tick(heavy=1)
    draining = scene.pool.drained[0][0]
    scene.applied(RETRY, code="new")
    for _ in range(3):
        scene.says(draining, phase="draining")
        scene.tick(after_s=ASK_AGAIN_S + 1, heavy=1)
    assert scene.pool.adapted == []


def test_workers_of_a_topic_that_was_removed_drain_and_are_not_replaced() -> None:
    scene = Scene()
    scene.up(heavy=1)
    scene.pool.workers += ["gone/1", "gone.too/2"]
    for _ in range(4):
        scene.tick(heavy=1)
    assert sorted(scene.pool.drained) == [("gone.too/2", LEAVING_S), ("gone/1", LEAVING_S)]
    for worker in ("gone/1", "gone.too/2"):
        scene.says(worker, phase="draining", running=2)
    scene.tick(after_s=ASK_AGAIN_S + 1, heavy=1)
    assert len(scene.pool.drained) == 2
    scene.now_s += LEAVING_S + DRAIN_GRACE_S
    for worker in scene.pool.started:
        scene.says(worker)
    scene.tick(heavy=1)
    assert sorted(set(scene.pool.killed)) == ["gone.too/2", "gone/1"], "they hang"
    scene.gone("gone/1", "gone.too/2")
    assert scene.tick(heavy=1) == []
    assert len(scene.pool.started) == 1


def test_workers_of_a_topic_that_was_removed_hold_no_room_of_ours() -> None:
    """Ray counts what they take as taken by others, so what it says is free is free without them."""
    scene = Scene("topics.heavy.worker.num_cpus=1", "topics.light.worker.num_cpus=1")
    scene.up(heavy=1)
    scene.pool.workers.append("gone/1")
    scene.tick(heavy=1)
    for _ in range(2):
        scene.fleet.capacity(scene.now_s)
        ours, unplaced = scene.view.asked[-1]
        assert (ours, unplaced) == ({"node": {"CPU": 1.0}}, [])
        scene.says("gone/1", phase="draining")
    two = Capacity(nodes=(Node(node_id="node", available={"CPU": 2}),))
    scene.tick(capacity=two, heavy=1, light=1)
    assert [worker.partition("/")[0] for worker in scene.pool.started] == ["heavy", "light"]


def test_a_topic_that_comes_back_while_its_last_workers_drain_gets_new_ones() -> None:
    scene = Scene("topics.extra.handler=m:f")
    assert scene.plan.config.topics.keys() == {"light", "heavy", "extra"}
    scene.fleet.reconcile({"extra": 1}, scene.view.answer, scene.now_s)
    scene.pool.workers.append("extra/old")
    scene.applied()
    scene.tick()
    assert scene.pool.drained == [("extra/old", LEAVING_S)]
    scene.applied("topics.extra.handler=m:f")
    scene.says("extra/old", phase="draining")
    scene.fleet.refresh(scene.now_s)
    scene.fleet.reconcile({"extra": 1}, Capacity(nodes=(Node(node_id="n", available={"CPU": 9}),)), scene.now_s)
    assert [worker.partition("/")[0] for worker in scene.pool.started] == ["extra"]
    assert dict(scene.pool.drained).keys() == {"extra/old"}


def test_a_restored_worker_too_young_to_have_reported_is_waited_for() -> None:
    scene = Scene()
    scene.tick(heavy=1)
    scene.applied()
    for _ in range(int(EARLY_DEATH_S)):
        scene.tick(heavy=1)
    assert len(scene.pool.started) == 1
    scene.says(scene.pool.started[0])
    assert scene.fleet.roster.counters("heavy").settlements.acked == 0
    scene.tick(heavy=1)
    assert (len(scene.pool.started), scene.pool.drained) == (1, [])
