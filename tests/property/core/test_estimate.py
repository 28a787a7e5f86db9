from __future__ import annotations

from collections import deque
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_ray.core.age import Queue, arrive, oldest_at_s
from hermes_ray.core.estimate import History, observe, snapshot
from hermes_ray.core.model import Probe, Totals, WorkerCounts

COUNTS = st.integers(0, 10_000)
LOOKS = st.lists(
    st.tuples(
        st.floats(0.01, 5.0), st.none() | st.tuples(COUNTS, COUNTS), COUNTS, COUNTS, COUNTS, st.floats(0.0, 100.0)
    ),
    max_size=150,
)


@given(LOOKS)
def test_whatever_is_seen_signals_are_finite_and_never_negative_and_memory_is_bounded(
    looks: list[tuple[float, tuple[int, int] | None, int, int, int, float]],
) -> None:
    history, now_s, left, finished, busy_s = History(), 1e9, 0, 0, 0.0
    for wait_s, depth, held, more_left, more_finished, more_busy_s in looks:
        now_s, left, finished, busy_s = now_s + wait_s, left + more_left, finished + more_finished, busy_s + more_busy_s
        probe = None if depth is None else Probe(at_s=now_s, ready_count=depth[0], retrying_count=depth[1])
        totals = Totals(held_count=held, settled_count=left, finished_count=finished, busy_s=busy_s)
        history = observe(history, probe, totals, now_s)
        seen = snapshot(history, "t", WorkerCounts(), now_s, slot_count=held)
        for number in (
            seen.arrival_rate_hz,
            seen.service_rate_hz,
            seen.service_p95_s,
            seen.wait_p95_s,
            seen.oldest_age_s,
            seen.finish_rate_hz,
            seen.utilisation_ratio,
        ):
            assert number is None or (isfinite(number) and number >= 0.0)
        assert seen.growth_rate_hz is None or isfinite(seen.growth_rate_hz)
        assert (seen.utilisation_ratio or 0.0) <= 1.0
        assert (seen.oldest_age_s is None) == (seen.ready_count is None)
    assert len(history.arrived) <= 75
    assert len(history.looks) <= 20
    assert len(history.serving.slices) <= 10
    assert len(history.queue.points) <= 50


@given(st.lists(st.tuples(st.floats(0.1, 2.0), st.integers(0, 20), st.integers(0, 18)), min_size=1, max_size=200))
def test_the_oldest_message_arrived_between_the_looks_around_its_arrival(looks: list[tuple[float, int, int]]) -> None:
    """First in, first out; each look a wait, how many came in it and how many were taken."""
    queue, now_s, first_s, waiting, arrived = Queue(), 0.0, looks[0][0], deque[tuple[float, float]](), 0
    for wait_s, came, taken in looks:
        waiting.extend([(now_s, now_s + wait_s)] * came)
        now_s, arrived = now_s + wait_s, arrived + came
        for _ in range(min(taken, len(waiting))):
            waiting.popleft()
        queue = arrive(queue, now_s, arrived, len(waiting))
        oldest_s = oldest_at_s(queue, len(waiting))
        if not waiting:
            assert oldest_s is None
        else:
            spacing_s = max(0.75, (now_s - queue.points[0][0]) / 60) + 2.0
            after_s, by_s = waiting[0]
            assert oldest_s is not None
            assert after_s - spacing_s <= max(oldest_s, first_s) <= max(by_s, first_s) + spacing_s


@given(
    drift=st.floats(-0.02, 0.02),
    phases=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8),
    backlog=st.integers(0, 500),
)
def test_two_hundred_a_second_are_seen_within_five_percent_however_reports_fall(
    drift: float, phases: list[float], backlog: int
) -> None:
    """Workers share 200/s evenly; each reports about once a second, out of step with the ticks, and the steps drift."""
    history = History()
    share_hz = 200.0 / len(phases)
    for tick in range(81):
        now_s = float(tick)
        left = 0
        for phase in phases:
            interval_s = 1.0 + drift
            last_report_s = max(0.0, (now_s - phase) // interval_s * interval_s + phase)
            left += int(share_hz * last_report_s)
        probe = Probe(at_s=now_s, ready_count=backlog)
        history = observe(history, probe, Totals(settled_count=left, finished_count=left), now_s)
    assert snapshot(history, "t", WorkerCounts(), 80.0).arrival_rate_hz == pytest.approx(200.0, rel=0.05)


@given(st.integers(1, 2_000), st.integers(5, 60))
def test_a_rate_that_jumps_tenfold_is_followed_within_three_seconds(rate_hz: int, quiet_s: int) -> None:
    history = History()
    for tick in range(quiet_s + 4):
        count = rate_hz * (tick + 9 * max(0, tick - quiet_s))
        history = observe(history, Probe(at_s=float(tick), ready_count=count), Totals(), float(tick))
    found = snapshot(history, "t", WorkerCounts(), quiet_s + 3.0).arrival_rate_hz
    assert found is not None
    assert found >= 2 * rate_hz
