"""Whole episodes: queues, workers and the scaler's estimate and policy, played from start to finish."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest

from hermes_ray.core.estimate import History
from hermes_ray.core.model import Override, Reason, TopicParams
from tests.support.queue_world import Topic, World

CRAWL = TopicParams(topic="crawl", concurrency=4, workers_max=20, worker={"CPU": 0.25})


def _quiet(_: float) -> float:
    return 0.0


def _changes(targets: list[int]) -> int:
    return sum(before != after for before, after in pairwise(targets))


def test_a_burst_grows_the_pool_at_once_is_cleared_in_time_and_leaves_nobody_behind() -> None:
    crawl = Topic(CRAWL, service_s=0.5, rate_hz=lambda at_s: 8.0 if at_s < 240 else 0.0)
    world = World(crawl)
    world.run(120.0)
    calm = crawl.targets()[-1]
    crawl.publish(1_200, world.now_s)
    world.run(2.1)
    assert calm <= 3
    assert crawl.targets()[-1] >= 8
    world.run(40.0)
    assert crawl.ready == type(crawl.ready)()
    late = sum(sojourn_s > CRAWL.latency_objective_s for sojourn_s in crawl.sojourns_s)
    assert late <= 0.01 * len(crawl.sojourns_s)
    world.run(240.0)
    assert len(crawl.sojourns_s) == crawl.arrived
    assert (crawl.targets()[-1], crawl.workers) == (0, [])
    peak = max(crawl.targets())
    peak_from_s = next(d.at_s for d in crawl.decisions if d.target == peak)
    assert all(target == peak for target in crawl.targets(peak_from_s, peak_from_s + 60.0))


def test_a_pool_back_from_a_burst_is_as_large_as_before() -> None:
    crawl = Topic(CRAWL, service_s=0.5, rate_hz=lambda _: 20.0)
    world = World(crawl)
    world.run(120.0)
    calm = crawl.targets()[-1]
    crawl.publish(600, world.now_s)
    world.run(240.0)
    assert crawl.targets()[-1] == calm


@pytest.mark.parametrize(("rate_hz", "service_s", "workers"), [(20.0, 0.5, 4), (3.0, 2.0, 2), (150.0, 0.2, 10)])
def test_a_constant_load_settles_on_what_it_takes_and_stays(rate_hz: float, service_s: float, workers: int) -> None:
    crawl = Topic(CRAWL, service_s=service_s, rate_hz=lambda _: rate_hz)
    world = World(crawl)
    world.run(420.0)
    assert set(crawl.targets(since_s=180.0)) == {workers}
    assert _changes(crawl.targets()) <= 8
    assert max(crawl.sojourns_s[-1_000:]) <= service_s + 1.0


def test_a_pool_goes_to_zero_and_comes_back_for_one_message() -> None:
    crawl = Topic(CRAWL, service_s=0.5, rate_hz=lambda at_s: 4.0 if at_s < 30 else 0.0)
    world = World(crawl)
    world.run(180.0)
    assert (crawl.targets()[-1], crawl.workers) == (0, [])
    crawl.publish(1, world.now_s)
    world.run(4.0)
    assert max(crawl.targets(since_s=180.0)) == 1
    assert crawl.sojourns_s[-1] <= 3.0
    world.run(150.0)
    assert (crawl.targets()[-1], crawl.workers) == (0, [])


def test_the_first_messages_ever_get_one_worker_and_then_what_it_learns() -> None:
    crawl = Topic(CRAWL, service_s=1.0, rate_hz=_quiet)
    world = World(crawl)
    crawl.publish(400, 0.0)
    world.run(5.0)
    first = next(d for d in crawl.decisions if d.target > 0)
    assert (first.target, first.reason, first.at_s) == (1, Reason.FIRST_WORKER, 0.0)
    assert crawl.targets()[-1] > 4
    world.run(30.0)
    assert len(crawl.sojourns_s) == 400
    assert max(crawl.sojourns_s) <= CRAWL.latency_objective_s


def test_a_long_handler_is_never_left_without_its_worker() -> None:
    crawl = Topic(CRAWL, service_s=300.0, rate_hz=_quiet)
    world = World(crawl)
    crawl.publish(1, 0.0)
    world.run(299.0)
    assert set(crawl.targets()) == {1}
    world.run(70.0)
    assert (len(crawl.sojourns_s), crawl.targets()[-1]) == (1, 0)


def test_missing_probes_hold_the_pool_until_a_minute_after_they_are_back() -> None:
    crawl = Topic(CRAWL, service_s=0.5, rate_hz=lambda at_s: 40.0 if at_s < 120 else 0.0)
    world = World(crawl)
    world.run(119.0)
    before = crawl.targets()[-1]
    crawl.is_probed = False
    world.run(200.0)
    assert set(crawl.targets(since_s=119.0)) == {before}
    assert crawl.decisions[-1].reason is Reason.NO_DATA
    crawl.is_probed = True
    back_s = world.now_s
    world.run(75.0)
    assert set(crawl.targets(since_s=back_s, until_s=back_s + 59.0)) == {before}
    assert crawl.targets()[-1] == 0


def test_a_killed_worker_loses_nothing_and_shakes_the_pool_but_little() -> None:
    crawl = Topic(CRAWL, service_s=0.5, rate_hz=lambda at_s: 20.0 if at_s < 300 else 0.0)
    world = World(crawl)
    world.run(150.5)
    calm = crawl.targets()[-1]
    crawl.kill(crawl.workers[0], world.now_s)
    world.run(30.0)
    assert all(calm <= target <= calm + 1 for target in crawl.targets(since_s=150.0))
    assert len(crawl.workers) == crawl.targets()[-1]
    world.run(150.0)
    assert len(crawl.sojourns_s) == crawl.arrived


def test_a_restarted_scaler_takes_nothing_away_for_a_minute() -> None:
    crawl = Topic(CRAWL, service_s=0.5, rate_hz=lambda at_s: 40.0 if at_s < 120 else 0.0)
    world = World(crawl)
    world.run(120.0)
    before = crawl.targets()[-1]
    world.policy, crawl.history = type(world.policy)(), type(crawl.history)()
    world.run(130.0)
    assert set(crawl.targets(since_s=120.0, until_s=180.0)) == {before}
    assert crawl.targets()[-1] == 0


def test_on_a_full_cluster_the_heavy_topic_takes_all_but_the_minimum_of_the_light_one() -> None:
    light = Topic(replace(CRAWL, topic="light", weight=1.0, workers_min=1), service_s=1.0, rate_hz=lambda _: 60.0)
    heavy = Topic(
        replace(CRAWL, topic="heavy", weight=10.0), service_s=1.0, rate_hz=lambda at_s: 60.0 if at_s > 60 else 0.0
    )
    world = World(heavy, light, num_cpus=2.0)
    world.run(60.0)
    assert (light.targets()[-1], heavy.targets()[-1]) == (8, 0)
    world.run(60.0)
    assert (light.targets()[-1], heavy.targets()[-1]) == (1, 7)
    assert light.decisions[-1].reason is heavy.decisions[-1].reason is Reason.CAPACITY
    world.run(120.0)
    assert set(light.targets(since_s=120.0)) == {1}
    assert set(heavy.targets(since_s=120.0)) == {7}


def test_a_topic_resumed_after_a_pause_is_at_once_as_large_as_what_waited_takes() -> None:
    crawl = Topic(CRAWL, service_s=0.5, rate_hz=lambda at_s: 20.0 if at_s < 400 else 0.0)
    world = World(crawl)
    world.run(120.0)
    world.overrides["crawl"] = Override(paused=True)
    world.run(120.0)
    assert crawl.workers == []
    assert len(crawl.ready) > 2_300
    world.overrides.clear()
    world.run(1.0)
    assert crawl.targets()[-1] == 20
    world.run(60.0)
    assert len(crawl.ready) == 0
    world.run(300.0)
    assert (len(crawl.sojourns_s), crawl.targets()[-1]) == (crawl.arrived, 0)


def test_a_pool_pinned_too_large_is_at_once_as_large_as_needed_when_the_pin_ends() -> None:
    crawl = Topic(CRAWL, service_s=0.5, rate_hz=lambda _: 20.0)
    world = World(crawl)
    world.run(120.0)
    calm = crawl.targets()[-1]
    world.overrides["crawl"] = Override(pinned_count=15, pinned_until_s=220.0)
    world.run(101.0)
    assert set(crawl.targets(since_s=120.0, until_s=220.0)) == {15}
    assert crawl.targets()[-1] == calm


def test_a_replaced_scaler_that_remembers_goes_on_as_if_nothing_had_been() -> None:
    crawl = Topic(CRAWL, service_s=0.5, rate_hz=lambda _: 20.0)
    world = World(crawl)
    world.run(120.0)
    calm = crawl.targets()[-1]
    crawl.history = msgspec.msgpack.decode(msgspec.msgpack.encode(crawl.history), type=History)
    world.run(90.0)
    assert set(crawl.targets(since_s=120.0)) == {calm}


@pytest.mark.parametrize("num_cpus", [0.5, 1_000.0])
def test_the_age_shown_is_that_of_the_oldest_message(num_cpus: float) -> None:
    """On half a CPU the queue grows to minutes; on many, bursts come and go."""
    crawl = Topic(CRAWL, service_s=0.5, rate_hz=lambda at_s: 40.0 if at_s % 100 < 50 else 10.0)
    world = World(crawl, num_cpus=num_cpus)
    for second in range(600):
        if second % 97 == 60:
            crawl.publish(500, world.now_s)
        world.run(0.1)
        shown_s = crawl.decisions[-1].snapshot.oldest_age_s
        oldest_s = crawl.ready[0] if crawl.ready else float(second)
        assert shown_s == pytest.approx(second - oldest_s, abs=2.0)
        world.run(0.9)
