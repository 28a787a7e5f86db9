from __future__ import annotations

import pytest

from hermes_ray.core.estimate import History, observe, snapshot
from hermes_ray.core.model import Arrived, Probe, Totals
from tests.support.looks import NOBODY, idle, ready, see, watch


def test_the_oldest_message_is_as_old_as_the_queue_has_been_growing() -> None:
    history = watch(range(41), ready(lambda at_s: 5 * max(0.0, at_s - 10)), idle)
    assert see(history, 40.0).oldest_age_s == pytest.approx(29.8)
    history = watch(range(41, 43), lambda _: None, idle, history)
    assert see(history, 42.0).oldest_age_s == pytest.approx(31.8)
    assert see(history, 50.1).oldest_age_s is None


def test_an_empty_queue_has_no_age_and_an_unseen_one_an_unknown_age() -> None:
    assert see(watch(range(9), ready(lambda _: 0), lambda at_s: Totals(settled_count=int(at_s))), 8.0).oldest_age_s == 0
    assert see(watch(range(9), lambda _: None, idle), 8.0).oldest_age_s is None


@pytest.mark.parametrize("lag_s", [1.0, 3.0])
def test_an_age_is_right_at_once_although_arrivals_are_counted_for_an_earlier_probe(lag_s: float) -> None:
    """20/s are taken as they come, after 5 s in the queue."""
    history = History()
    for second in range(60):
        counted = Arrived(at_s=second - lag_s, count=20 * (second - lag_s))
        probe = Probe(at_s=float(second), ready_count=100)
        history = observe(history, probe, Totals(settled_count=20 * second), float(second), counted)
    assert see(history, 59.0).oldest_age_s == pytest.approx(5.0, abs=0.1)


def test_a_burst_into_an_empty_queue_is_no_older_than_two_looks() -> None:
    history = History()
    for second in range(60):
        probe = Probe(at_s=float(second), ready_count=5_000 if second == 59 else 0)
        counted = Arrived(at_s=second - 1.0, count=2.0 * second)
        history = observe(history, probe, Totals(settled_count=2 * second), float(second), counted)
    assert see(history, 59.0).oldest_age_s == pytest.approx(2.0)


def test_trends_are_of_the_last_ten_seconds() -> None:
    """Four slots; until 60 s 4/s arrive and are handled, then 10/s arrive, and three slots do 3/s."""

    def late(at_s: float) -> int:
        return max(0, int(at_s) - 60)

    def totals(at_s: float) -> Totals:
        finished = 4 * int(at_s) - late(at_s)
        return Totals(held_count=4, settled_count=finished, finished_count=finished, busy_s=finished)

    history = watch(range(61), ready(lambda _: 6), totals)
    seen = snapshot(history, "t", NOBODY, 60.0, slot_count=4)
    assert (seen.finish_rate_hz, seen.growth_rate_hz, seen.utilisation_ratio) == (4.0, 0.0, 1.0)
    history = watch(range(61, 71), ready(lambda at_s: 6 + 7 * late(at_s)), totals, history)
    seen = snapshot(history, "t", NOBODY, 70.0, slot_count=4)
    assert (seen.finish_rate_hz, seen.growth_rate_hz, seen.utilisation_ratio) == (3.0, 7.0, 0.75)
    assert snapshot(history, "t", NOBODY, 70.0, slot_count=2).utilisation_ratio == 1.0


def test_a_shrinking_queue_grows_by_less_than_nothing() -> None:
    assert see(watch(range(20), ready(lambda at_s: 500 - 20 * at_s), idle), 19.0).growth_rate_hz == -20.0


def test_a_short_history_has_trends_once_it_covers_a_second() -> None:
    def totals(at_s: float) -> Totals:
        return Totals(finished_count=6 * int(at_s), busy_s=at_s)

    first = snapshot(watch(range(1), ready(lambda _: 0), totals), "t", NOBODY, 0.0, slot_count=2)
    assert (first.finish_rate_hz, first.growth_rate_hz, first.utilisation_ratio) == (None, None, None)
    later = snapshot(watch(range(3), ready(lambda _: 0), totals), "t", NOBODY, 2.0, slot_count=2)
    assert (later.finish_rate_hz, later.growth_rate_hz, later.utilisation_ratio) == (6.0, 0.0, 0.5)


def test_without_slots_there_is_no_utilisation_and_without_depths_no_growth() -> None:
    history = watch(range(30), lambda _: None, lambda at_s: Totals(finished_count=int(at_s), busy_s=at_s))
    seen = [snapshot(history, "t", NOBODY, 29.0, slot_count=slots) for slots in (None, 0, 2)]
    assert [s.utilisation_ratio for s in seen] == [None, None, 0.5]
    assert [s.growth_rate_hz for s in seen] == [None] * 3
