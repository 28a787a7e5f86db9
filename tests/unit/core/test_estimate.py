from __future__ import annotations

from dataclasses import replace

import pytest

from hermes_ray.core.estimate import PROBE_TTL_S, History, observe, snapshot
from hermes_ray.core.model import Probe, Snapshot, Totals, WorkerCounts
from tests.support.looks import durations, idle, ready, see, watch


def test_before_anything_is_seen_everything_is_unknown() -> None:
    assert see(History(), 0.0) == Snapshot(topic="t", at_s=0.0)


def test_a_first_look_gives_depths_but_no_rate() -> None:
    seen = see(observe(History(), Probe(at_s=5.0, ready_count=7, retrying_count=2), Totals(held_count=3), 5.0), 5.0)
    assert (seen.ready_count, seen.retrying_count, seen.held_count, seen.arrival_rate_hz) == (7, 2, 3, None)


def test_a_backlog_that_was_there_at_the_first_look_is_no_arrival() -> None:
    assert see(watch(range(3), ready(lambda _: 5_000), idle), 2.0).arrival_rate_hz == 0.0


def test_two_looks_less_than_a_second_apart_give_no_rate() -> None:
    history = observe(History(), Probe(at_s=0.0, ready_count=0), Totals(), 0.0)
    history = observe(history, Probe(at_s=0.5, ready_count=50), Totals(), 0.5)
    assert see(history, 0.5).arrival_rate_hz is None
    history = observe(history, Probe(at_s=1.0, ready_count=100), Totals(), 1.0)
    assert see(history, 1.0).arrival_rate_hz == pytest.approx(100.0)


@pytest.mark.parametrize("rate_hz", [0.1, 3.0, 200.0])
def test_a_steady_rate_is_found_after_a_minute_to_a_message_a_minute(rate_hz: float) -> None:
    history = watch(range(71), ready(lambda at_s: rate_hz * at_s), idle)
    assert see(history, 70.0).arrival_rate_hz == pytest.approx(rate_hz, rel=0.001, abs=1 / 60)


def test_arrivals_that_workers_took_are_counted() -> None:
    history = watch(
        range(71),
        ready(lambda _: 3),
        lambda at_s: Totals(held_count=10, settled_count=50 * int(at_s), finished_count=0),
    )
    assert see(history, 70.0).arrival_rate_hz == pytest.approx(50.0)


def test_retries_are_not_counted_as_arrivals() -> None:
    def probe(at_s: float) -> Probe:
        return Probe(at_s=at_s, ready_count=0, retrying_count=10 * int(at_s))

    def totals(at_s: float) -> Totals:
        return Totals(settled_count=90 * int(at_s), finished_count=100 * int(at_s))

    assert see(watch(range(71), probe, totals), 70.0).arrival_rate_hz == pytest.approx(100.0)
    due = Probe(at_s=71.0, ready_count=700)
    back = observe(watch(range(71), probe, totals), due, Totals(settled_count=6_400, finished_count=7_100), 71.0)
    assert see(back, 71.0).arrival_rate_hz == pytest.approx(100.0)


def test_a_burst_shows_within_two_seconds_and_its_end_as_well() -> None:
    def count(at_s: float) -> float:
        return 10 * at_s + 500 * min(max(at_s - 60, 0), 10)

    history = watch(range(63), ready(count), idle)
    assert see(history, 62.0).arrival_rate_hz == pytest.approx(510.0)
    history = watch(range(63, 73), ready(count), idle, history)
    assert see(history, 72.0).arrival_rate_hz == pytest.approx(10.0)


def test_a_quiet_topic_is_at_zero_seventy_two_seconds_after_its_last_message() -> None:
    """A minute, and the fifth by which older counts lie apart."""
    history = watch(range(83), ready(lambda at_s: min(at_s, 10.0) / 5), idle)
    assert see(history, 82.0).arrival_rate_hz == 0.0


def test_prefetching_worker_starts_do_not_look_like_a_burst() -> None:
    """At 60 s a worker takes 200 of a backlog; for a second no report shows them."""

    def probe(at_s: float) -> Probe:
        return Probe(at_s=at_s, ready_count=1_000 + 10 * int(at_s) - (200 if at_s >= 60 else 0))

    def totals(at_s: float) -> Totals:
        return Totals(held_count=200 if at_s >= 61 else 0)

    for end in range(60, 75):
        assert (see(watch(range(end + 1), probe, totals), end).arrival_rate_hz or 0.0) <= 11.0


def test_a_killed_worker_disturbs_the_rate_for_a_few_seconds_only() -> None:
    """Its 200 messages are ready again at 60 s, still counted as held until 62 s; 10 settled ones were not reported."""

    def probe(at_s: float) -> Probe:
        return Probe(at_s=at_s, ready_count=(200 if at_s >= 60 else 0))

    def totals(at_s: float) -> Totals:
        lost = 10 if at_s >= 60 else 0
        return Totals(
            held_count=0 if at_s >= 62 else 200, settled_count=20 * int(at_s) - lost, finished_count=20 * int(at_s)
        )

    rates = {end: see(watch(range(end + 1), probe, totals), end).arrival_rate_hz for end in range(55, 90)}
    assert all(rate is not None and 0.0 <= rate <= 120.0 for rate in rates.values())
    assert max(rates[end] or 0.0 for end in range(65, 90)) <= 21.0
    assert [rates[end] for end in range(83, 90)] == pytest.approx([20.0] * 7, rel=0.05)


def test_a_purged_queue_gives_no_negative_rate() -> None:
    history = watch(range(71), ready(lambda at_s: 20 * at_s if at_s < 65 else 0), idle)
    assert see(history, 70.0).arrival_rate_hz == 0.0


def test_a_depth_is_good_for_ten_seconds_and_then_unknown_with_the_rate() -> None:
    history = watch(range(21), ready(lambda at_s: 5 * at_s), idle)
    history = watch(range(21, 40), lambda _: None, idle, history)
    young, old = see(history, 20.0 + PROBE_TTL_S), see(history, 20.1 + PROBE_TTL_S)
    assert (young.ready_count, young.retrying_count) == (100, 0)
    assert young.arrival_rate_hz == pytest.approx(5.0)
    assert (old.ready_count, old.retrying_count, old.arrival_rate_hz) == (None, None, None)
    assert old.held_count == 0


def test_a_repeated_probe_adds_no_point() -> None:
    stuck = Probe(at_s=20.0, ready_count=100)
    history = watch(range(21), ready(lambda at_s: 5 * at_s), idle)
    assert watch(range(21, 26), lambda _: stuck, idle, history).arrived == history.arrived


def test_rates_go_on_after_a_gap_in_the_probes() -> None:
    history = watch(range(21), ready(lambda at_s: 5 * at_s), idle)
    history = watch(range(21, 40), lambda _: None, idle, history)
    history = watch(range(40, 42), ready(lambda at_s: 5 * at_s), idle, history)
    assert see(history, 41.0).arrival_rate_hz == pytest.approx(5.0)


def test_the_service_rate_is_of_a_busy_slot_not_of_a_worker() -> None:
    history = watch(range(71), ready(lambda _: 0), lambda at_s: Totals(finished_count=2 * int(at_s), busy_s=2 * at_s))
    assert see(history, 70.0).service_rate_hz == pytest.approx(1.0)


def test_the_service_rate_follows_the_last_minute() -> None:
    def totals(at_s: float) -> Totals:
        fast, slow = min(at_s, 100.0), max(0.0, at_s - 100.0)
        return Totals(finished_count=int(10 * fast + slow), busy_s=fast + slow)

    assert see(watch(range(171), ready(lambda _: 0), totals), 170.0).service_rate_hz == pytest.approx(1.0)


def test_what_was_learnt_outlives_any_silence() -> None:
    worked = Totals(finished_count=30, busy_s=15.0, service=durations(*[0.5] * 30))
    history = watch(range(10_000), ready(lambda _: 0), lambda at_s: worked if at_s else Totals())
    seen = see(history, 9_999.0)
    assert seen.service_rate_hz == pytest.approx(2.0)
    assert seen.service_p95_s == pytest.approx(0.5, rel=0.19)


def test_few_runs_in_a_minute_are_judged_with_the_twenty_to_forty_before() -> None:
    """One run a minute, 10 s each until 6,000 s, 20 s each after: 40 runs later only the new ones count."""

    def totals(at_s: float) -> Totals:
        early, late = int(min(at_s, 6_000) // 60), int(max(0.0, at_s - 6_000) // 60)
        return Totals(finished_count=early + late, busy_s=10.0 * early + 20.0 * late)

    history = watch(range(6_600), ready(lambda _: 0), totals)
    assert 0.05 < (see(history, 6_599.0).service_rate_hz or 0.0) < 0.1
    history = watch(range(6_600, 8_500), ready(lambda _: 0), totals, history)
    assert see(history, 8_499.0).service_rate_hz == pytest.approx(0.05)


def test_before_the_first_run_ends_its_age_bounds_the_service_rate() -> None:
    running = Totals(held_count=1, running_count=1, longest_running_s=8.0, busy_s=8.0)
    seen = see(observe(History(), None, running, 8.0), 8.0)
    assert seen.service_rate_hz == pytest.approx(0.125)
    assert seen.service_p95_s == 8.0
    fresh = see(observe(History(), None, replace(running, longest_running_s=0.0), 8.0), 8.0)
    assert (fresh.service_rate_hz, fresh.service_p95_s) == (None, None)


def test_waits_are_those_of_the_last_minute() -> None:
    def totals(at_s: float) -> Totals:
        return Totals(wait=durations(*[100.0] * 50, *[0.2] * (int(at_s) - 10 if at_s > 10 else 0)))

    history = watch(range(100), ready(lambda _: 0), totals)
    assert see(history, 99.0).wait_p95_s == pytest.approx(0.2, rel=0.19)


def test_without_a_wait_in_the_last_minute_it_is_unknown() -> None:
    def totals(at_s: float) -> Totals:
        return Totals(wait=durations(3.0) if at_s > 5 else ())

    assert see(watch(range(61), ready(lambda _: 0), totals), 60.0).wait_p95_s == pytest.approx(3.0, rel=0.19)
    assert see(watch(range(100), ready(lambda _: 0), totals), 99.0).wait_p95_s is None


def test_workers_are_handed_through() -> None:
    workers = WorkerCounts(observed=3, starting=2, draining=1)
    assert snapshot(History(), "t", workers, 0.0).workers == workers
