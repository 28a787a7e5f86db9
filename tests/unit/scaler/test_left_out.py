"""Topics that are not configured any more: remembered for a time, then not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermes_ray.core.model import Override
from tests.support.scaler_world import ScalerWorld, pause

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
    handled = world.acked("extra")
    assert handled == 20
    world.applied()
    world.tick(2)
    world.now_s += 20 * DAY_S
    world.applied("topics.extra.handler=m:f")
    world.tick(2)
    world.now_s += 20 * DAY_S
    world.tick(2)
    assert world.acked("extra") == handled


def test_a_topic_that_is_left_out_again_is_remembered_as_long_again() -> None:
    world = ScalerWorld()
    for _ in range(2):
        world.applied("topics.extra.handler=m:f")
        world.tick(2)
        world.applied()
        world.tick(2)
        world.now_s += 20 * DAY_S
        world.tick(2)
        assert world.loop.left_out() == ["extra"]


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


def test_what_the_last_workers_of_a_left_out_topic_settle_is_counted() -> None:
    world = ScalerWorld()
    world.applied("topics.seasonal.handler=m:f", "topics.seasonal.workers.min=1")
    world.tick(5)
    (worker,) = world.of("seasonal")
    world.applied()
    for _ in range(2):
        world.consumers[worker].acked += 2
        world.handled["seasonal"] += 2
        world.tick()
    world.tick()
    assert not world.of("seasonal")
    world.applied("topics.seasonal.handler=m:f")
    world.tick()
    assert world.acked("seasonal") == world.handled["seasonal"] > 0


@pytest.mark.parametrize("ends", ["left out", "stopped", "left out of a deployment that is stopped"])
@pytest.mark.parametrize("policy", ["adaptive", "threshold"])
def test_a_topic_that_returns_after_days_has_no_worker_for_an_empty_queue(ends: str, policy: str) -> None:
    extra = ("topics.extra.handler=m:f", f"topics.extra.scaling.policy={policy}", "topics.extra.workers.max=60")
    world = ScalerWorld()
    world.applied(*extra)
    world.loop.override("extra", lambda override: replace(override, pinned_count=47, pinned_until_s=world.now_s + 5.0))
    world.tick(10)
    assert len(world.of("extra")) == 47
    if ends == "stopped":
        world.loop.override("extra", lambda override: replace(override, stopped=True))
    else:
        world.applied()
    world.tick(5)
    if ends == "left out of a deployment that is stopped":
        world.loop.stop(kill=False, now_s=world.now_s)
        world.tick(3)
    assert not world.of("extra")
    started = len(world.pool.started)
    world.now_s += 10 * DAY_S
    world.applied(*extra)
    world.scaler_is_killed()  # before its first tick
    world.prober.seen.clear()
    world.loop.tick((), world.now_s)  # before the first depth is known
    world.tick(10)
    assert len(world.pool.started) == started


def test_a_topic_that_returns_is_at_once_as_large_as_what_waits_takes() -> None:
    extra = ("topics.extra.handler=m:f", "topics.extra.workers.max=60")
    world = ScalerWorld()
    world.applied(*extra)
    world.ready["extra"] = 400
    world.tick(30)
    world.applied()
    world.tick(5)
    world.now_s += 10 * DAY_S
    world.applied(*extra)
    world.ready["extra"] = 4_000
    world.tick(3)
    assert len(world.of("extra")) > 20, "what a message takes is known"


def test_a_topic_that_stays_keeps_its_pool_over_an_apply_while_nothing_is_seen() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 60
    world.tick(90)
    pool = world.of("light")
    world.applied("topics.light.workers.max=30")
    world.prober.seen.clear()
    world.now_s += 20.0  # the last depth is too old to tell
    world.loop.tick((), world.now_s)
    assert world.of("light") == pool
    assert world.pool.drained == []
