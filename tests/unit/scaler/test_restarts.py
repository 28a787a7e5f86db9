"""Nobody can tell from its figures that a scaler was restarted, replaced or away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from hermes_ray.scaler.status_rows import topic_rows
from tests.support.memories import OWNER
from tests.support.scaler_world import ScalerWorld, pause, pin_to_3

EPISODE_S = 44


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
            assert all(other.acked(topic) == other.handled[topic] for topic in ("light", "heavy"))
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
    assert world.acked("light") == world.handled["light"]


def test_a_later_plan_goes_on_from_what_the_one_before_had_learnt() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(90)
    calm, handled = world.figures("light"), world.handled["light"]
    world.applied("topics.light.workers.max=20", owner=OWNER)
    assert world.acked("light") == handled
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


def test_what_is_shown_is_what_a_restart_would_show() -> None:
    world, restarted = ScalerWorld(), ScalerWorld()
    for second in range(1, 36):
        play(world, second)
        shown, before = world.counts(), rows(world)
        restarted.pool, restarted.now_s = world.pool, world.now_s
        restarted.scaler_starts(world.memory())
        assert restarted.counts() == shown
        assert [row["override"] for row in rows(restarted).values()] == [row["override"] for row in before.values()]


def test_counts_go_on_when_the_last_worker_was_gone_before_the_next_scaler_came() -> None:
    world = ScalerWorld()
    world.rate_hz["light"] = 20
    world.tick(30)
    world.rate_hz.clear()
    world.loop.stop(kill=False, now_s=world.now_s)
    world.tick(5)
    assert world.memory().workers == {}
    world.applied()
    before = world.acked("light")
    assert before == world.handled["light"] > 500
    world.ready["light"] = 8
    world.tick(4)
    assert world.acked("light") == before + 8


@pytest.mark.parametrize("away_s", [10, 125, 1_000])
def test_a_worker_asked_for_just_before_the_scaler_went_away_is_not_late(away_s: int) -> None:
    world = ScalerWorld()
    world.ready["light"], world.rate_hz["light"] = 10_000, 4
    world.tick(2)
    assert world.of("light")
    world.scaler_is_killed(away_s)
    world.loop.tick((), world.now_s)
    world.tick(10)
    assert world.pool.killed == []
