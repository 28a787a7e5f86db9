"""What a scaler does second by second, and what orders make of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from hermes_ray.core.conditions import Condition
from hermes_ray.core.model import Capacity, Node, Override, Reason
from hermes_ray.core.policy import PolicyState
from hermes_ray.scaler.memory import policy_state
from hermes_ray.scaler.ports import StartResult
from hermes_ray.scaler.reconcile import WAIT_SAID_S
from hermes_ray.scaler.status_rows import topic_rows
from tests.support.reports import report
from tests.support.scaler_world import ScalerWorld, pause, pin_to_3


def rows(world: ScalerWorld) -> dict[str, Any]:
    return topic_rows(world.loop.figures, ahead_s=0.0)


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_pause_drains_all_the_depth_is_seen_on_and_after_resuming_there_are_as_many_as_before(
    is_killed: bool,
) -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(30)
    before = len(world.of("light"))
    world.loop.override("light", pause)
    world.tick(4)
    assert (world.of("light"), world.figures("light").override) == ([], Reason.PAUSED)
    assert world.figures("light").snapshot.ready_count == world.ready["light"] > 0
    assert rows(world)["light"]["override"] == {"kind": "paused", "count": None, "until": None}
    if is_killed:
        world.scaler_is_killed()
    world.prober.seen.clear()
    world.now_s += 20.0  # the last depth is too old to tell
    world.loop.override("light", lambda override: replace(override, paused=False))
    world.loop.tick((), world.now_s)
    assert len(world.of("light")) == before


def test_a_stop_order_is_carried_out_by_whoever_is_there_then_and_ends_what_was_wanted() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(30)
    world.loop.override("heavy", pin_to_3)
    world.tick(3)
    assert world.loop.stop(kill=False, now_s=world.now_s) == 30.0
    world.loop.save(world.now_s, at_once=True)
    world.scaler_is_killed(away_s=1)
    assert world.loop.stop_by_s is not None
    world.tick(3)
    assert world.pool.workers == []
    assert world.loop.result is not None
    assert world.loop.result["killed"] == 0
    memory = world.memory()
    assert (policy_state(memory), memory.workers) == (PolicyState(), {})
    assert memory.header.stop_by_s is not None, "restarted in its last moments it winds down again"
    assert [past.override for past in memory.topics.values()] == [Override(), Override()]
    assert memory.topics["light"].counters.settlements.acked == world.handled["light"]


def test_the_next_deployment_after_a_stop_starts_no_worker_that_nobody_needs() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(30)
    world.loop.stop(kill=False, now_s=world.now_s)
    world.tick(3)
    world.rate_hz.clear()
    world.ready.clear()
    started = len(world.pool.started)
    world.now_s += 3_600.0
    world.applied()
    world.prober.seen.clear()
    world.loop.tick((), world.now_s)  # before the first depth is known
    world.tick(5)
    assert len(world.pool.started) == started
    assert world.memory().learnt["light"].history.totals is not None, "what was learnt is kept"


def test_a_handler_that_outlives_its_time_is_killed_and_counted_and_what_was_killed_before_is_not() -> None:
    world = ScalerWorld("topics.light.workers.min=1")
    world.tick(3)
    (record,) = world.fleet.roster.all()
    assert record.report is not None
    world.fleet.killed_count = 5
    world.loop.stop(kill=True, now_s=world.now_s)
    record.report = structs.replace(record.report, running_count=2)
    world.loop.tick((), world.now_s)
    assert world.pool.killed == [record.worker]
    world.dies(record.worker)
    world.loop.tick((), world.now_s + 0.2)
    assert world.loop.result is not None
    assert world.loop.result["killed"] == 2


def test_wait_queues_are_looked_for_when_retries_are_new_and_after_a_restart() -> None:
    world = ScalerWorld("topics.light.workers.min=1")
    world.tick(3)
    (worker,) = world.of("light")
    record = world.fleet.roster.get(worker)
    assert record is not None
    assert record.report is not None
    for retried in (1, 1, 2):
        seq = record.report.seq + 1
        world.loop.tick([(report(worker, seq, retried=retried), world.now_s)], world.now_s)
    assert world.prober.retries == ["light", "light"]


def test_the_wait_queues_that_workers_speak_of_are_counted_and_remembered() -> None:
    world = ScalerWorld("topics.light.workers.min=2")
    world.tick(3)
    reports = [
        (report(worker, 99, wait_rungs_ms=rungs_ms), world.now_s)
        for worker, rungs_ms in zip(world.of("light"), ((1000, 1414), (1000, 2000)), strict=True)
    ]
    world.loop.tick(reports, world.now_s)
    assert world.prober.waits["light"] == {1000, 1414, 2000}
    world.loop.tick((), world.now_s)
    assert world.memory().topics["light"].wait_rungs_ms == (1000, 1414, 2000)
    world.scaler_is_killed()
    assert world.prober.waits["light"] == {1000, 1414, 2000}


def test_a_stopped_topic_is_left_out_until_the_next_plan() -> None:
    world = ScalerWorld("topics.light.workers.min=1")
    world.tick(2)
    world.loop.override("light", lambda override: replace(override, stopped=True))
    world.tick(3)
    assert (world.loop.stopped(), world.of("light")) == (["light"], [])
    world.scaler_is_killed()
    world.tick()
    assert (world.loop.stopped(), world.of("light")) == (["light"], [])
    world.applied("topics.light.workers.min=1")
    world.tick()
    assert world.loop.stopped() == []
    assert len(world.of("light")) == 1


def test_a_pin_ends_when_it_was_said_to_though_the_machine_slept_meanwhile() -> None:
    world = ScalerWorld()
    world.loop.override("light", lambda override: replace(pin_to_3(override), pinned_until_s=world.now_s + 600.0))
    world.tick(60)
    assert world.figures("light").override is Reason.PINNED
    world.loop.slept(3_600.0)
    world.tick()
    assert world.figures("light").override is None


def test_figures_say_how_far_the_clock_is_ahead_and_how_long_the_last_tick_took() -> None:
    world = ScalerWorld()
    world.loop.clock_offset_s, world.loop.tick_s = 600.0, 0.25
    world.tick()
    assert world.loop.figures is not None
    assert (world.loop.figures.clock_offset_s, world.loop.figures.tick_s) == (600.0, 0.25)


def test_what_an_order_between_two_ticks_shows_is_of_its_own_moment() -> None:
    world = ScalerWorld()
    world.tick()
    world.now_s += 0.5
    world.loop.save(world.now_s, at_once=True)
    assert world.figures("light").snapshot.at_s == world.now_s


def test_that_a_first_worker_fits_nowhere_is_said_once() -> None:
    world = ScalerWorld("topics.light.workers.min=1")
    world.view.answer = Capacity(nodes=(Node(node_id="node", available={"CPU": 0.0}),))
    world.tick(5)
    assert len([line for _, line in world.loop.lines if line.startswith("light: ")]) == 1
    assert Condition.CAPACITY_EXHAUSTED in world.figures("light").conditions


def test_a_cluster_that_does_not_tell_its_room_is_not_said_to_have_none() -> None:
    world = ScalerWorld("topics.light.workers.min=1", "topics.heavy.workers.min=1")
    world.view.answer = Capacity(nodes=(Node(node_id="node", available={"CPU": 0.25}),))
    world.loop.override("light", pause)
    world.tick(3)
    world.hung.update(world.of("heavy"))  # it keeps the only place, though it is to drain
    world.loop.override("heavy", pause)
    world.loop.override("light", lambda override: replace(override, paused=False))
    world.tick(int(WAIT_SAID_S) + 2)
    assert Condition.CAPACITY_EXHAUSTED in world.figures("light").conditions
    world.view.answer = None
    world.tick()
    assert Condition.CAPACITY_EXHAUSTED not in world.figures("light").conditions


def _two_fixed(light: int, heavy: int, *words: str) -> ScalerWorld:
    """8 places; heavier than ``light``, ``heavy`` wants all of its ``workers.max``."""
    both = [
        f"topics.{topic}.{word}"
        for topic in ("light", "heavy")
        for word in ("scaling.policy=fixed", "worker.num_cpus=1")
    ]
    world = ScalerWorld(*both, f"topics.light.workers.max={light}", f"topics.heavy.workers.max={heavy}", *words)
    world.view.answer = Capacity(nodes=(Node(node_id="node", available={"CPU": 8.0}),))
    return world


def _decided(world: ScalerWorld, topic: str) -> tuple[int, Reason]:
    decision = world.loop.decision(topic)
    assert decision is not None
    return decision.target, decision.reason


@pytest.mark.parametrize("restarts", [False, True])
def test_a_heavier_topic_whose_workers_do_not_start_leaves_its_room_to_a_lighter_one(restarts: bool) -> None:
    world = _two_fixed(light=8, heavy=8)
    world.broken.add("heavy")
    world.tick(90)
    for second in range(600):
        if restarts and second == 100:
            world.scaler_is_killed(away_s=2)
        world.tick()
        assert (len(world.of("light")), _decided(world, "heavy")) == (7, (1, Reason.STARTS_FAIL))
    world.broken.clear()
    world.tick(400)
    assert (len(world.of("light")), len(world.of("heavy"))) == (0, 8)


def test_starts_that_fail_for_a_moment_leave_a_heavier_topic_its_room() -> None:
    world = _two_fixed(light=8, heavy=8)
    world.tick(30)
    world.broken.add("heavy")
    for worker in world.of("heavy"):
        world.dies(worker)
    world.tick(8)
    assert (world.of("light"), _decided(world, "heavy")) == ([], (8, Reason.FIXED))
    world.broken.clear()
    world.tick(40)
    assert (len(world.of("light")), len(world.of("heavy"))) == (0, 8)


def test_room_that_nobody_else_wants_is_left_to_a_topic_whose_workers_do_not_start() -> None:
    world = _two_fixed(light=2, heavy=8)
    world.broken.add("heavy")
    world.tick(300)
    assert (len(world.of("light")), _decided(world, "heavy")) == (2, (6, Reason.STARTS_FAIL))


def test_a_try_that_waits_for_a_place_is_no_reason_to_forget_that_starts_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _two_fixed(light=8, heavy=8)
    world.broken.add("heavy")
    world.tick(90)
    world.loop.override("heavy", pause)
    world.tick(10)
    assert len(world.of("light")) == 8
    asked = set[str]()
    monkeypatch.setattr(world.pool, "drain", lambda worker, _timeout_s: asked.add(worker))  # who works on for long
    world.loop.override("heavy", lambda override: replace(override, paused=False))
    world.tick(200)
    assert (len(asked), _decided(world, "heavy")) == (1, (1, Reason.STARTS_FAIL))


def test_a_threshold_topic_is_as_large_as_before_once_its_workers_start_again() -> None:
    words = ("topics.heavy.scaling.policy=threshold", "topics.heavy.workers.min=6")
    world = _two_fixed(8, 8, *words)
    world.tick(30)
    world.fleet.params["heavy"] = replace(world.fleet.params["heavy"], workers_min=0)  # type: ignore[index]
    world.broken.add("heavy")
    for worker in world.of("heavy"):
        world.dies(worker)
    world.tick(120)
    assert _decided(world, "heavy") == (1, Reason.STARTS_FAIL)
    world.broken.clear()
    world.tick(300)
    assert len(world.of("heavy")) == 6


def test_those_that_start_together_with_one_that_fails_count_also_after_a_standstill() -> None:
    world = ScalerWorld("topics.light.scaling.policy=fixed", "topics.light.workers.max=5")
    world.tick(30)
    old = world.of("light")
    world.loop.override("light", lambda override: replace(override, pinned_count=10))
    world.tick(1)
    new = [worker for worker in world.of("light") if worker not in old]
    world.hung.update(new)  # they load for long
    world.pool.results.append(StartResult(worker=new[0], error="ImportError: no module"))
    world.tick(2)
    world.now_s += 6.0
    world.loop.was_away(6.0, world.now_s)
    world.tick(5)
    assert world.pool.drained == []
    assert set(old) <= set(world.of("light"))
