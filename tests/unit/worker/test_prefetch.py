"""How many messages a worker handles at once, where it may hold fewer than its handler's kind would take."""

from __future__ import annotations

import pytest

from hermes_ray.worker.prefetch import RecentRuns, prefetch_count, slots_per_worker


@pytest.mark.parametrize(
    ("concurrency", "prefetch", "expected"),
    [(None, None, 32), (8, None, 8), (None, 50, 32), (8, 8, 8), (None, 1, 1), (8, 1, 1)],
)
def test_a_worker_has_no_more_slots_than_messages(concurrency: int | None, prefetch: int | None, expected: int) -> None:
    assert slots_per_worker(concurrency, prefetch, 32) == expected


@pytest.mark.parametrize(
    ("service_s", "concurrency", "expected"),
    [(None, 4, 4), (60.0, 4, 4), (0.01, 4, 84), (1e-9, 4, 500), (0.001, 600, 600), (0.1, 32, 96)],
)
def test_a_worker_holds_a_fifth_of_a_second_of_work_beside_what_runs(
    service_s: float | None, concurrency: int, expected: int
) -> None:
    assert prefetch_count(service_s, concurrency) == expected


def played(*phases: tuple[int, float], slots: int = 4) -> list[float | None]:
    """What is known each second, while a message takes so long for so many seconds; all slots are busy."""
    recent, now_s, finished, found = RecentRuns(slots), 0.0, 0.0, list[float | None]()
    for seconds, service_s in phases:
        for _ in range(seconds):
            now_s += 1.0
            finished += slots / service_s
            recent.note(now_s, int(finished), slots * now_s)
            found.append(recent.service_s())
    return found


def test_a_slow_down_is_seen_within_seconds_whatever_was_handled_before() -> None:
    found = played((100, 0.001), (5, 10.0))
    assert found[99] == pytest.approx(0.001, rel=0.1)
    assert found[-1] is not None
    assert found[-1] > 2.0
    assert prefetch_count(found[-1], 4) == 4


def test_a_speed_up_is_seen_within_seconds_too() -> None:
    found = played((100, 10.0), (5, 0.001))
    assert found[-1] == pytest.approx(0.001, rel=0.5)


def test_what_takes_long_from_the_start_is_known_before_any_has_ended() -> None:
    assert played((1, 60.0))[-1] is None
    found = played((10, 60.0))[-1]
    assert found is not None
    assert found > 5


def test_one_slow_message_among_fast_ones_changes_little() -> None:
    recent = RecentRuns(4)
    for second in range(30):
        recent.note(float(second), second * 3_000, 4.0 * second)  # three slots at 1 ms, one in a long run
    found = recent.service_s()
    assert found is not None
    assert found < 0.002


@pytest.mark.parametrize("slots", [1, 2, 4, 32])
def test_first_runs_that_go_on_raise_nothing(slots: int) -> None:
    recent = RecentRuns(slots)
    for n in range(60):
        recent.note(n / 20, 0, slots * n / 20)
        assert prefetch_count(recent.service_s(), slots) < 1.5 * slots
