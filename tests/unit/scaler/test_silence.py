"""Workers that say nothing any more, in the middle of everything else."""

from __future__ import annotations

import pytest

from hermes_ray.core.conditions import Condition
from hermes_ray.core.model import Capacity, Node
from hermes_ray.scaler.lifecycle import REPLACED_AFTER_S
from hermes_ray.scaler.memory import Memory
from hermes_ray.scaler.start_backoff import MAX_BACKOFF_S
from hermes_ray.worker.report import Report
from tests.support.fleet_scene import Scene
from tests.support.params import slow
from tests.support.scaler_world import ScalerWorld

FIXED = "topics.light.scaling.policy=fixed"


class SlowReports(ScalerWorld):
    """Workers report every 20 s, each at its own second."""

    def scaler_starts(self, memory: Memory | None, cluster_id: str = "here") -> None:
        super().scaler_starts(memory, cluster_id)
        self.fleet.report_interval_s = 20.0

    def _work(self, worker: str, is_asked_to_drain: bool) -> Report | None:
        said = super()._work(worker, is_asked_to_drain)
        is_due = said is not None and (said.seq <= 2 or (int(self.now_s) + 7 * int(worker[-8:], 16)) % 20 == 0)
        return said if is_due or is_asked_to_drain else None


def working(world: ScalerWorld, topic: str) -> list[str]:
    return [worker for worker in world.of(topic) if worker not in world.hung]


def spoken(world: ScalerWorld) -> set[str]:
    """Those of ``light`` that have reported."""
    return {worker for worker in world.of("light") if worker in world.consumers and world.consumers[worker].seq}


def test_new_code_that_hangs_after_its_first_words_costs_the_canaries_and_no_old_one() -> None:
    world = ScalerWorld(FIXED, "topics.light.workers.max=8")
    world.tick(30)
    old = set(world.of("light"))
    world.applied(FIXED, "topics.light.workers.max=8", code="new")
    for _ in range(150):
        world.tick()
        world.hung |= spoken(world) - old
    assert old <= set(world.of("light"))
    assert not old & {worker for worker, _ in world.pool.drained}
    assert {Condition.UNRESPONSIVE, Condition.START_FAILING} <= world.figures("light").conditions
    assert "of the new code said nothing any more" in (world.fleet.start_error("light") or "")


@pytest.mark.parametrize("away_s", [0, 300])
def test_those_that_were_given_up_stay_so_over_a_restart_and_cost_no_healthy_one(away_s: int) -> None:
    world = ScalerWorld(FIXED, "topics.light.workers.max=6", "topics.light.worker.silent_timeout_s=150")
    world.tick(20)
    world.hung = set(world.of("light")[:3])
    world.tick(int(REPLACED_AFTER_S) + 20)
    healthy = set(working(world, "light"))
    assert len(healthy) == 6
    world.scaler_is_killed(away_s)
    world.tick(50)
    assert set(working(world, "light")) == healthy
    assert world.pool.drained == []
    world.tick(30)
    assert set(world.pool.killed) == world.hung, "a restart does not put off their end"


def test_what_hangs_every_worker_does_not_fill_the_cluster_with_them() -> None:
    world = ScalerWorld(FIXED, "topics.light.workers.max=3")
    living = []
    for _ in range(800):
        world.tick()
        world.hung |= spoken(world)
        living.append(len(world.of("light")))
    assert max(living) <= 2 * 3 + 800 // int(MAX_BACKOFF_S)
    world.tick(1)
    world.hung.clear()
    world.tick(40)
    assert len(working(world, "light")) >= 3


def test_the_room_of_one_that_was_given_up_is_granted_to_nobody() -> None:
    scene = Scene("topics.heavy.worker.num_cpus=2")
    silent, other = scene.up(heavy=2)
    for _ in range(int(REPLACED_AFTER_S) + 1):
        scene.says(other)
        scene.tick(heavy=1)
    scene.fleet.capacity(scene.now_s)
    assert scene.view.asked[-1] == ({"node": {"CPU": 2.0}}, [])
    scene.says(silent)
    scene.fleet.capacity(scene.now_s)
    assert scene.view.asked[-1] == ({"node": {"CPU": 4.0}}, [])


def test_while_nobody_says_anything_the_pool_is_held_and_its_rate_is_what_it_was() -> None:
    world = ScalerWorld("topics.light.workers.max=20")
    world.rate_hz["light"] = 60
    world.tick(120)
    target = world.figures("light").target
    assert target
    world.unheard = set(world.of("light"))
    for second in range(int(REPLACED_AFTER_S) + 5):
        world.tick()
        assert world.figures("light").target == target
        assert second > 50 or (world.figures("light").snapshot.arrival_rate_hz or 0.0) > 50.0, "what it was is known"


@pytest.mark.parametrize("kind", ["asked for", "silent"])
def test_one_worker_that_says_nothing_does_not_blind_the_next_scaler_to_a_topic(kind: str) -> None:
    world = SlowReports("topics.light.workers.max=50", "topics.light.workers.min=4")
    world.rate_hz["light"] = 16
    world.tick(200)
    if kind == "silent":
        world.hung = set(world.of("light")[:1])
        world.tick(70)
    else:
        world.loop.override("light", lambda override: override)
        before = set(world.pool.workers)
        world.rate_hz["light"] = 60
        while not set(world.pool.workers) - before:
            world.tick()
        world.hung = set(world.pool.workers) - before
    world.scaler_is_killed()
    world.rate_hz["light"] = 200
    world.tick(55)
    assert (world.figures("light").target or 0) > 20


@pytest.mark.parametrize("unheard_count", [10, 5, 1])
@pytest.mark.parametrize("gap_s", [slow(4), 12, slow(40)])
def test_reports_that_were_lost_for_a_while_make_no_burst_of_what_was_handled_meanwhile(
    unheard_count: int, gap_s: int
) -> None:
    world = ScalerWorld("topics.light.workers.max=40")
    world.rate_hz["light"] = 60
    world.tick(150)
    started, target = len(world.pool.started), world.figures("light").target
    world.unheard = set(world.of("light")[:unheard_count])
    world.tick(gap_s)
    world.unheard.clear()
    for _ in range(90):
        world.tick()
        assert (world.figures("light").snapshot.arrival_rate_hz or 0.0) < 75.0
    assert (len(world.pool.started), world.figures("light").target) == (started, target)


@pytest.mark.parametrize("gap_s", [20.0, 65.0, 2_000.0])
def test_a_scaler_that_stood_still_blames_nobody_and_counts_no_burst(gap_s: float) -> None:
    world = ScalerWorld("topics.light.workers.max=40")
    world.rate_hz["light"] = 60
    world.tick(150)
    started, target = len(world.pool.started), world.figures("light").target
    queued: list[tuple[Report, float]] = []
    for _ in range(int(min(gap_s, 60.0))):
        queued = world._world_goes_on()
    world.now_s += max(0.0, gap_s - 60.0)
    world.loop.was_away(gap_s, world.now_s)
    world.loop.tick((), world.now_s)
    world.loop.tick([(said, world.now_s) for said, _ in queued], world.now_s)
    world.tick(90)
    assert (world.pool.killed, world.pool.drained) == ([], [])
    assert (len(world.pool.started), world.figures("light").target) == (started, target)


def test_room_that_others_leave_slowly_is_waited_for_and_said() -> None:
    scene = Scene("topics.light.worker.num_cpus=4", "topics.heavy.worker.num_cpus=4")
    room = Capacity(nodes=(Node(node_id="node", available={"CPU": 4.0}),))
    scene.tick(capacity=room, light=1)
    lines = []
    for _ in range(60):
        for worker in scene.pool.workers:
            scene.says(worker, phase="draining" if scene.pool.drained else "consuming")
        lines += scene.tick(capacity=room, heavy=1)
    assert lines == ["heavy: no node for 1 more before workers that drain are gone"]
    assert scene.fleet.lack("heavy") == "no node for 1 more before workers that drain are gone"
    scene.gone(*scene.pool.workers)
    scene.tick(capacity=room, heavy=1)
    assert scene.fleet.lack("heavy") is None


def test_one_that_was_given_up_keeps_no_topic_from_going_to_zero_and_back() -> None:
    world = ScalerWorld("topics.light.workers.max=20")
    world.ready["light"] = 4
    world.tick(5)
    world.hung = set(world.of("light"))
    world.tick(int(REPLACED_AFTER_S) + 120)
    assert (working(world, "light"), world.figures("light").target) == ([], 0)
    world.rate_hz["light"] = 60
    world.tick(20)
    assert len(working(world, "light")) >= 8
    assert world.hung <= set(world.of("light")), "nobody waits for its end"


def test_the_fix_of_what_hung_all_workers_starts_at_once() -> None:
    world = ScalerWorld(FIXED, "topics.light.workers.max=3")
    for _ in range(150):
        world.tick()
        world.hung |= spoken(world)
    world.applied(FIXED, "topics.light.workers.max=3", code="new")
    world.tick(30)
    assert len(working(world, "light")) == 3


def test_the_silence_of_several_restarts_does_not_add_up() -> None:
    world = ScalerWorld(FIXED, "topics.light.workers.max=2")
    world.tick(20)
    world.hung = set(world.of("light"))
    world.tick(10)
    for _ in range(3):
        world.scaler_is_killed(1_000)
        world.tick(3)
    assert world.pool.killed == []


@pytest.mark.parametrize("away_s", [slow(1), 6, slow(10)])
@pytest.mark.parametrize("is_killed", [False, True])
def test_who_is_away_more_often_than_workers_report_sees_a_load_rise(away_s: int, is_killed: bool) -> None:
    world = SlowReports("topics.light.workers.max=100")
    world.rate_hz["light"] = 60
    world.tick(200)
    world.rate_hz["light"] = 180
    for _ in range(16):
        if is_killed:
            world.scaler_is_killed(away_s)
        else:
            stands_still(world, away_s)
        world.tick(15 - away_s)
    assert (world.figures("light").target or 0) >= 20, "it was 10"
    assert world.ready["light"] < 30 * 180, "nothing waits for longer than it may"


@pytest.mark.parametrize("away_s", [slow(5), 10, slow(19), 45, slow(100)])
def test_reports_that_waited_for_a_scaler_that_stood_still_make_no_burst(away_s: int) -> None:
    world = SlowReports("topics.light.workers.max=100")
    world.rate_hz["light"] = 60
    world.tick(200)
    stands_still(world, away_s)
    for _ in range(100):
        world.tick()
        assert 50.0 < (world.figures("light").snapshot.arrival_rate_hz or 60.0) < 71.0


def test_a_short_standstill_before_a_long_one_makes_no_burst_either() -> None:
    world = SlowReports("topics.light.workers.max=100")
    world.rate_hz["light"] = 60
    world.tick(200)
    stands_still(world, 8)
    world.tick(15)
    stands_still(world, 60)
    for _ in range(100):
        world.tick()
        assert 50.0 < (world.figures("light").snapshot.arrival_rate_hz or 60.0) < 71.0


def stands_still(world: ScalerWorld, away_s: int) -> None:
    """What workers report meanwhile comes at one moment."""
    said = [report for _ in range(away_s) for report, _ in world._world_goes_on()]
    world.loop.was_away(float(away_s), world.now_s)
    world.loop.tick([(report, world.now_s) for report in said], world.now_s)
