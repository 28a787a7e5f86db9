"""What a scaler does second by second, and that nobody can tell from its figures that it was restarted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from hermes_ray.core.model import Override, Reason
from hermes_ray.core.policy import PolicyState
from hermes_ray.scaler.clock import Anchor
from hermes_ray.scaler.memory import decode, policy_state
from hermes_ray.scaler.status_rows import topic_rows
from tests.support.memories import OWNER
from tests.support.reports import report
from tests.support.scaler_world import ScalerWorld

EPISODE_S = 44


def pause(override: Override) -> Override:
    return replace(override, paused=True)


def pin_to_3(override: Override) -> Override:
    return replace(override, pinned_count=3)


# Everything in it: a burst, starts that fail, a death, a pause, a pin, an end of messages, a stop.
SCRIPT: Mapping[int, Callable[[ScalerWorld], object]] = {
    1: lambda world: world.rate_hz.update(light=10),
    2: lambda world: world.ready.update(heavy=30),
    4: lambda world: world.broken.add("light"),
    5: lambda world: world.ready.update(light=300),
    7: lambda world: world.broken.clear(),
    9: lambda world: world.loop.override("heavy", pause),
    11: lambda world: world.unwell.add("heavy"),
    13: lambda world: world.unwell.clear(),
    18: lambda world: world.dies(world.of("light")[0]),
    22: lambda world: world.loop.override("light", pin_to_3),
    30: lambda world: world.rate_hz.clear(),
    36: lambda world: world.loop.stop(kill=False, now_s=world.now_s),
}


def play(world: ScalerWorld, second: int) -> None:
    if second in SCRIPT and world.loop.result is None:
        SCRIPT[second](world)
    world.tick()


def rows(world: ScalerWorld) -> dict[str, Any]:
    return topic_rows(world.loop.figures, ahead_s=0.0)


def acked(world: ScalerWorld, topic: str) -> int:
    return world.figures(topic).counters.settlements.acked


def falls(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    return {key: (count, after.get(key, 0)) for key, count in before.items() if after.get(key, 0) < count}


def test_the_episode_has_in_it_what_it_says() -> None:
    world = ScalerWorld()
    for second in range(1, EPISODE_S):
        play(world, second)
    light, heavy = world.figures("light"), world.figures("heavy")
    assert (light.counts.deaths, light.counts.start_failures > 0, heavy.counts.probe_failures) == (1, True, 2)
    assert (light.counts.decisions["pinned"], heavy.counts.decisions["paused"]) == (1, 1)
    assert (light.counters.settlements.acked, heavy.counters.settlements.acked) == (
        world.handled["light"],
        world.handled["heavy"],
    )
    assert world.handled["light"] + world.ready["light"] == 10 * 29 + 300
    assert world.loop.result is not None


@pytest.mark.parametrize("away_s", [0, 2])
def test_whenever_it_is_killed_no_count_goes_back_and_nothing_said_or_decided_is_forgotten(away_s: int) -> None:
    world, kills = ScalerWorld(), 0
    for second in range(1, EPISODE_S):
        play(world, second)
        if world.loop.result is not None:
            break
        kills += 1
        other = world.fork()
        before, counts = other.memory(), other.counts()
        other.scaler_is_killed(away_s)
        after = other.memory()
        assert after.header.stop_by_s == before.header.stop_by_s
        for topic, past in before.topics.items():
            assert (after.topics[topic].override, after.topics[topic].recent_decisions) == (
                past.override,
                past.recent_decisions,
            )
        for later in range(second + 1, second + 9):
            assert falls(counts, other.counts()) == {}, f"killed at {second}, seen at {later}"
            if other.loop.result is not None:
                break
            counts = other.counts()
            play(other, later)
        if away_s == 0:
            assert all(acked(other, topic) == other.handled[topic] for topic in ("light", "heavy"))
    assert kills > 36


@pytest.mark.parametrize(("away_s", "late_s"), [(0, 0), (1, 0), (3, 0), (20, 0), (0, 4), (20, 4)])
def test_a_restart_under_load_makes_no_burst_and_moves_no_target(away_s: int, late_s: int) -> None:
    """20/s of half a second; what was handled while nobody looked must not look like arrivals of one second."""
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(90)
    calm = world.figures("light")
    world.scaler_is_killed(away_s)
    for second in range(30):
        world.unheard = set(world.of("light")[1:] if second < late_s else ())
        world.tick()
        seen = world.figures("light")
        assert seen.snapshot.arrival_rate_hz is None or seen.snapshot.arrival_rate_hz == pytest.approx(20, rel=0.1)
        assert seen.snapshot.service_rate_hz == pytest.approx(2.0)
        assert (seen.target, seen.counts.ups, seen.counts.downs) == (calm.target, calm.counts.ups, calm.counts.downs)
    assert acked(world, "light") == world.handled["light"]


def test_a_later_plan_goes_on_from_what_the_one_before_had_learnt() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(90)
    calm, handled = world.figures("light"), world.handled["light"]
    world.applied("topics.light.workers.max=20", owner=OWNER)
    assert acked(world, "light") == handled
    for _ in range(10):
        world.tick()
        assert world.figures("light").snapshot.service_rate_hz == pytest.approx(2.0)
        assert world.figures("light").target == calm.target
    assert world.loop.owner == OWNER


def test_on_another_cluster_rates_are_known_at_once_and_nothing_else() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.loop.override("heavy", pause)
    world.tick(90)
    for worker in list(world.consumers):
        world.dies(worker)
    world.rate_hz["light"], world.ready["light"] = 0, 100
    world.scaler_starts(world.memory(), "elsewhere")
    world.tick()
    cut = world.figures("light")
    assert cut.snapshot.service_rate_hz == pytest.approx(2.0)
    assert (cut.counters.settlements.acked, cut.counts.deaths, world.figures("heavy").override) == (0, 0, None)
    assert world.memory().header.cluster_id == "elsewhere"


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


def test_what_is_shown_is_what_a_restart_would_show() -> None:
    world, restarted = ScalerWorld(), ScalerWorld()
    for second in range(1, 36):
        play(world, second)
        shown, before = world.counts(), rows(world)
        restarted.pool, restarted.now_s = world.pool, world.now_s
        restarted.scaler_starts(world.memory())
        assert restarted.counts() == shown
        assert [row["override"] for row in rows(restarted).values()] == [row["override"] for row in before.values()]


def test_a_write_that_fails_is_told_once_and_work_goes_on() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(3)
    world.store.error = OSError(28, "No space left on device")
    world.tick(10)
    told = [line for _, line in world.loop.lines if "No space left" in line]
    assert told == [
        "the checkpoint cannot be written: [Errno 28] No space left on device; a restarted scaler would learn anew"
    ]
    assert "No space left" in (world.loop.write_error or "")
    assert acked(world, "light") == world.handled["light"] > 0, "nobody is blinded by a full disk"
    assert len(world.of("light")) > 1
    world.store.error = None
    world.tick()
    assert world.loop.write_error is None
    assert world.memory().header.anchor == Anchor(at_s=world.now_s)
    world.store.error = OSError(5, "Input/output error")
    world.tick(2)
    assert sum("cannot be written" in line for _, line in world.loop.lines) == 2


@pytest.mark.parametrize(("write_s", "most"), [(0.01, 60), (0.3, 15), (2.0, 3)])
def test_a_slow_write_is_made_less_often_and_nothing_newer_than_it_is_shown(write_s: float, most: int) -> None:
    world = ScalerWorld()
    world.rate_hz["light"], world.write_s = 20, write_s
    world.loop.save(world.now_s, at_once=True)
    before = world.store.write_count
    for _ in range(60):
        world.tick()
        assert world.loop.figures is not None
        assert Anchor(at_s=world.loop.figures.at_s) == world.memory().header.anchor
    assert 1 < world.store.write_count - before <= most
    assert len(world.of("light")) > 1, "decisions are made each second"


def test_orders_are_written_at_once_however_slow_that_is() -> None:
    world = ScalerWorld()
    world.write_s = 100.0
    world.tick(2)
    world.loop.override("light", pause)
    world.loop.own(OWNER)
    world.loop.save(world.now_s, at_once=True)
    memory = world.memory()
    assert (memory.header.owner, memory.topics["light"].override.paused) == (OWNER, True)


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


DAY_S = 86_400.0


def test_sixty_applies_with_changing_topics_leave_no_trace_but_of_the_last_thirty_days() -> None:
    world = ScalerWorld()
    for n in range(60):
        world.applied(f"topics.seasonal_{n}.handler=m:f", f"topics.seasonal_{n}.workers.min=1")
        world.tick(4)
        world.now_s += 1.5 * DAY_S
        world.tick(2)
    remembered = {name for name in world.memory().topics if name.startswith("seasonal")}
    assert remembered == {f"seasonal_{n}" for n in range(40, 60)}
    assert {record.topic for record in world.fleet.roster.all()} <= {"seasonal_59", "light", "heavy"}
    world.applied()
    for _ in range(4):
        world.now_s += 10 * DAY_S
        world.tick(2)
    memory = world.memory()
    assert set(memory.topics) == set(memory.learnt) == {"light", "heavy"}
    assert all(worker.partition("/")[0] in ("light", "heavy") for worker in memory.workers)


def test_a_topic_that_returns_in_time_goes_on_with_its_counts_and_is_not_forgotten_later() -> None:
    world = ScalerWorld()
    world.applied("topics.extra.handler=m:f")
    world.ready["extra"] = 20
    world.tick(10)
    handled = acked(world, "extra")
    assert handled == 20
    world.applied()
    world.tick(2)
    world.now_s += 20 * DAY_S
    world.applied("topics.extra.handler=m:f")
    world.tick(2)
    world.now_s += 20 * DAY_S
    world.tick(2)
    assert acked(world, "extra") == handled


def test_a_left_out_topic_is_forgotten_when_told_and_a_configured_one_is_not() -> None:
    world = ScalerWorld()
    world.applied("topics.extra.handler=m:f")
    world.tick(3)
    world.applied()
    world.tick(3)
    assert world.loop.left_out() == ["extra"]
    assert not world.loop.forget("light")
    assert not world.loop.forget("nobody")
    assert world.loop.forget("extra")
    world.tick()
    assert set(world.memory().topics) == {"light", "heavy"}
    world.scaler_is_killed()
    assert world.loop.left_out() == []


def test_the_end_of_a_deployment_ends_pauses_of_topics_that_are_left_out_too() -> None:
    world = ScalerWorld()
    world.applied("topics.extra.handler=m:f")
    world.loop.override("extra", pause)
    world.tick(2)
    world.applied()
    world.loop.stop(kill=False, now_s=world.now_s)
    world.tick(5)
    assert world.loop.result is not None
    assert world.memory().topics["extra"].override == Override()


def test_only_what_changed_is_written_each_second() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(30)
    last = decode(world.store.records[-1])
    assert not last.is_whole
    assert set(last.topics) == {"light"}
    assert {worker.worker.partition("/")[0] for worker in last.workers} == {"light"}


def test_counts_go_on_when_the_last_worker_was_gone_before_the_next_scaler_came() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(30)
    world.rate_hz.clear()
    world.loop.stop(kill=False, now_s=world.now_s)
    world.tick(5)
    assert world.memory().workers == {}
    world.applied()
    before = acked(world, "light")
    assert before == world.handled["light"] > 500
    world.ready["light"] = 8
    world.tick(4)
    assert acked(world, "light") == before + 8
