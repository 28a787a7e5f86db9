from __future__ import annotations

import pytest

from hermes_ray.scaler.report_interval import MAX_CALLS_PER_S, ReportInterval


@pytest.mark.parametrize("workers", [0, 1, 100, 240, 2_400, 9_600, 100_000])
def test_all_workers_together_call_no_oftener_than_one_actor_can_take_up_to_forty_seconds(workers: int) -> None:
    interval = ReportInterval()
    interval.update(workers, 0.0)
    assert 1.0 <= interval.told_s <= 40.0
    assert workers / interval.told_s <= MAX_CALLS_PER_S or interval.told_s == 40.0
    assert interval.kept_s == interval.told_s


def test_who_was_told_a_longer_interval_is_given_that_long() -> None:
    interval = ReportInterval()
    interval.update(2_400, 0.0)
    interval.update(1_200, 1.0)
    interval.update(50, 2.0)
    assert (interval.told_s, interval.kept_s) == (1.0, 10.0)
    interval.update(50, 12.5)
    assert interval.kept_s == 1.0, "what was told for a moment at 1 s is over too"
    interval.update(2_400, 13.0)
    assert (interval.told_s, interval.kept_s) == (10.0, 10.0), "up at once"


def test_the_next_scaler_knows_what_the_one_before_had_told() -> None:
    interval = ReportInterval(10.0, 100.0)
    interval.update(50, 106.0)
    assert (interval.told_s, interval.kept_s) == (1.0, 10.0)
    interval.update(50, 113.0)
    assert interval.kept_s == 1.0
