from __future__ import annotations

from dataclasses import replace

import pytest

from hermes_ray.core.model import Snapshot, TopicParams, WorkerCounts
from hermes_ray.core.stall import first_run_limit, hangs, is_first_run, stands_still

PARAMS = TopicParams(topic="t", concurrency=4)
STUCK = Snapshot(
    topic="t",
    at_s=0.0,
    ready_count=50,
    running_count=4,
    longest_running_s=13.0,
    unfinished_s=13.0,
    service_p95_s=4.0,
    finish_rate_hz=0.0,
    workers=WorkerCounts(observed=1),
)
FIRST = replace(STUCK, unfinished_s=None, service_p95_s=13.0)


def test_slots_busy_for_three_times_what_is_usual_with_no_run_ended_stand_still() -> None:
    assert stands_still(STUCK, PARAMS, report_interval_s=1.0)
    for changed in (
        {"unfinished_s": 11.9},
        {"longest_running_s": 11.9},
        {"running_count": 1},
        {"running_count": 0},
        {"service_p95_s": None},
    ):
        assert not stands_still(replace(STUCK, **changed), PARAMS, report_interval_s=1.0), changed


@pytest.mark.parametrize(("interval_s", "least_s"), [(1.0, 5.0), (20.0, 25.0)])
def test_short_runs_have_five_seconds_or_an_interval_and_a_quarter(interval_s: float, least_s: float) -> None:
    for quiet_s in (least_s, least_s + 0.1):
        seen = replace(STUCK, service_p95_s=0.1, longest_running_s=quiet_s, unfinished_s=quiet_s)
        assert stands_still(seen, PARAMS, report_interval_s=interval_s) == (quiet_s > least_s)


def test_a_first_run_is_one_of_which_nothing_is_known() -> None:
    assert is_first_run(FIRST)
    assert not is_first_run(STUCK)
    assert not is_first_run(replace(FIRST, running_count=0))
    assert not is_first_run(replace(FIRST, service_p95_s=2.0)), "what was learnt elsewhere stands in"


def test_a_pool_of_first_runs_may_double_each_twenty_seconds() -> None:
    limits = [first_run_limit(replace(FIRST, longest_running_s=age_s)) for age_s in (0.0, 19.9, 20.0, 65.0)]
    assert limits == [1, 1, 2, 8]


@pytest.mark.parametrize(("interval_s", "long_s"), [(1.0, 60.0), (40.0, 120.0)])
def test_long_is_a_minute_or_three_intervals(interval_s: float, long_s: float) -> None:
    for running_s in (long_s, long_s + 0.1):
        seen = replace(STUCK, longest_running_s=running_s)
        assert hangs(seen, PARAMS, report_interval_s=interval_s) == (running_s > long_s)
