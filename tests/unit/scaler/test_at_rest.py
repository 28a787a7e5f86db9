"""Episodes under a load that stays: how many workers that takes, and what happens where handlers do not end."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from random import Random

import pytest

from hermes_ray.core.conditions import Condition, Troubles, conditions
from hermes_ray.core.model import Reason
from tests.support.params import slow
from tests.support.steady_world import SteadyWorld

AIM = 0.8
SEEDS = [None, slow(1), slow(2)]


def _rest(service_s: float, ideal: float, concurrency: int, seed: int | None, interval_s: float = 1.0) -> float:
    """Workers on average once a load has stood for a while that takes ``ideal`` of them at 80 % use."""
    rate_hz = ideal * concurrency * AIM / service_s
    settle_s = 900 if rate_hz < 100 else 300 if rate_hz < 1_000 else 150
    world = SteadyWorld(rate_hz, lambda _: service_s, concurrency=concurrency, report_interval_s=interval_s, seed=seed)
    world.run(2 * settle_s)
    return world.mean_target(settle_s)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("service_s", "ideal", "concurrency"),
    [slow(0.1, 25, 1), (1.0, 25, 2), slow(8.0, 60, 1), (20.0, 25, 8), slow(60.0, 60, 4)],
)
def test_a_large_pool_at_rest_is_in_use_within_five_points_of_what_is_aimed_at(
    service_s: float, ideal: float, concurrency: int, seed: int | None
) -> None:
    assert AIM * ideal / _rest(service_s, ideal, concurrency, seed) == pytest.approx(AIM, abs=0.05)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("service_s", "ideal", "concurrency"),
    [
        slow(0.005, 1.5, 1),
        (0.005, 2.5, 4),
        slow(1.0, 4.5, 1),
        (8.0, 6.0, 4),
        slow(20.0, 4.5, 4),
        (20.0, 1.5, 8),
        slow(60.0, 4.5, 4),
    ],
)
def test_a_small_pool_at_rest_is_within_a_worker_of_the_ideal(
    service_s: float, ideal: float, concurrency: int, seed: int | None
) -> None:
    assert abs(_rest(service_s, ideal, concurrency, seed) - ideal) <= 1.0 + 1e-9


def test_four_messages_a_second_of_twenty_seconds_each_take_a_hundred_slots() -> None:
    """80 of them are in use; messages in handlers counted as waiting made it 182."""
    assert 94 <= 4 * _rest(20.0, 25.0, 4, seed=None) <= 107


@pytest.mark.parametrize("seed", [None, slow(3)])
def test_slow_reports_make_no_other_pool(seed: int | None) -> None:
    for service_s in (1.0, 20.0):
        assert AIM * 25 / _rest(service_s, 25.0, 2, seed, interval_s=20.0) == pytest.approx(AIM, abs=0.05)


def test_noise_does_not_move_a_hundred_workers_up_and_down() -> None:
    """Two changes in ten minutes, as against one and more a minute."""
    noise = Random(5)
    world = SteadyWorld(80.0, lambda _: 1.0 + noise.uniform(-0.3, 0.3))
    world.run(900)
    targets = world.targets(300.0)
    assert sum(before != after for before, after in pairwise(targets)) <= 2


def _stalled(world: SteadyWorld, interval_s: float = 1.0) -> bool:
    decision = world.decisions[-1]
    found = conditions(
        decision.snapshot,
        decision,
        world.params,
        Troubles(),
        report_interval_s=interval_s,
    )
    return Condition.STALLED in found


@pytest.mark.parametrize("interval_s", [1.0, 20.0])
def test_a_topic_whose_handlers_stop_ending_alerts_and_does_not_grow(interval_s: float) -> None:
    world = SteadyWorld(
        8.0, lambda at_s: inf if at_s > 600 else 1.0, concurrency=4, report_interval_s=interval_s, workers_max=50
    )
    world.run(600)
    calm = world.targets()[-1]
    assert not _stalled(world, interval_s)
    world.run(400)
    assert max(world.targets(600.0)) <= calm + (1 if interval_s == 1.0 else 5)
    assert world.decisions[-1].reason is Reason.UNFINISHED
    assert "no handler has ended for" in world.decisions[-1].text
    assert _stalled(world, interval_s)


def test_a_stalled_topic_goes_on_by_itself_once_handlers_end() -> None:
    """What started between 600 s and 800 s ends then, as a database that is back lets go of all."""
    world = SteadyWorld(
        8.0, lambda at_s: 800.0 - at_s + 0.5 if 600 < at_s < 800 else 1.0, concurrency=4, workers_max=50
    )
    world.run(799)
    assert world.decisions[-1].reason is Reason.UNFINISHED
    before = world.targets()[-1]
    world.run(30)
    assert world.targets()[-1] > before
    world.run(270)
    assert not world.history.probe or world.history.probe.ready_count < 40
    assert not _stalled(world)


def test_a_topic_whose_first_handlers_never_end_grows_carefully_and_stops() -> None:
    world = SteadyWorld(8.0, lambda _: inf, concurrency=4, workers_max=50)
    world.run(10)
    assert world.decisions[-1].reason is Reason.FIRST_RUN
    assert "until a first handler has ended" in world.decisions[-1].text
    world.run(590)
    assert max(world.targets()) <= 16
    assert [decision.reason for decision in world.decisions[-300:]] == [Reason.UNFINISHED] * 300
    assert _stalled(world)


def test_handlers_of_a_minute_reach_their_pool_within_three() -> None:
    """20 messages a minute keep 20 slots busy, which are 25 at 80 %."""
    world = SteadyWorld(20 / 60, lambda _: 60.0)
    world.run(600)
    assert min(world.targets(180.0)) >= 20
    assert max(world.targets()) <= 40
