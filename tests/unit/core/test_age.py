from __future__ import annotations

from collections.abc import Callable

import pytest

from hermes_ray.core.age import Queue, arrive, oldest_at_s


def _watch(
    seconds: range, arrived: Callable[[float], float], ready: Callable[[float], int], queue: Queue | None = None
) -> Queue:
    queue = queue or Queue()
    for second in seconds:
        queue = arrive(queue, float(second), arrived(float(second)), ready(float(second)))
    return queue


def test_the_worked_number_of_the_docstring_holds() -> None:
    assert oldest_at_s(Queue(points=((100.0, 10.0), (103.0, 40.0))), 15) == pytest.approx(101.6)


def test_nothing_ready_and_nothing_seen_have_no_oldest_message() -> None:
    assert oldest_at_s(Queue(), 3) is None
    assert oldest_at_s(arrive(Queue(), 5.0, 100.0, 0), 0) is None


def test_what_was_there_at_the_first_look_is_as_old_as_the_first_look_at_least() -> None:
    queue = _watch(range(50, 90), lambda at_s: 1_000.0 + 10 * at_s, lambda at_s: 500 + 10 * int(at_s))
    assert oldest_at_s(queue, 1_390) == 50.0


def test_a_queue_nobody_takes_from_has_its_first_message_at_the_head() -> None:
    """Empty until 20 s, then 2/s come and stay."""
    queue = _watch(range(100), lambda at_s: 7.0 + 2 * max(0.0, at_s - 20), lambda at_s: 2 * max(0, int(at_s) - 20))
    assert oldest_at_s(queue, 158) == pytest.approx(20.5)


def test_a_head_that_moves_is_followed_exactly() -> None:
    """10/s arrive; nobody takes any until 60 s, then 25/s are taken: message 25 x 20 = 500 came at 50 s."""

    def ready(at_s: float) -> int:
        return int(10 * at_s - 25 * max(0.0, at_s - 60))

    queue = _watch(range(81), lambda at_s: 10 * at_s, ready)
    assert oldest_at_s(queue, ready(80.0)) == pytest.approx(50.1)


def test_a_burst_is_as_old_as_it_is_however_fast_it_is_cleared() -> None:
    """1,000 come at 10 s, beside 1/s, and 100/s are taken."""
    queue = Queue()
    for second in range(20):
        left = 100 * max(0, second - 10)
        count = second + 1_000 * (second > 10)
        queue = arrive(queue, float(second), count, max(0, count - left))
        if 11 <= second < 20:
            assert 10.0 <= (oldest_at_s(queue, count - left) or 0.0) <= 11.0


def test_an_empty_queue_forgets_all_but_its_last_count() -> None:
    queue = _watch(range(1_000), lambda at_s: 50 * at_s, lambda _: 0)
    assert queue.points == ((999.0, 49_950.0),)


def test_a_count_of_an_earlier_time_is_left_out() -> None:
    queue = _watch(range(5), lambda at_s: 10 * at_s, lambda at_s: int(10 * at_s))
    assert arrive(queue, 3.5, 35.0, 35) is queue


def test_hours_of_waiting_are_remembered_in_few_points_and_right_to_a_sixtieth() -> None:
    """3/s arrive, one a second is taken; so the head is what came at a third of the time."""
    queue = Queue()
    for second in range(20_000):
        queue = arrive(queue, float(second), 3.0 * second, 2 * second)
        assert len(queue.points) <= 120
        if second % 997 == 996:
            head_s = second / 3
            assert oldest_at_s(queue, 2 * second) == pytest.approx(head_s, abs=1 + second / 60)


def test_messages_of_a_dead_worker_counted_twice_for_a_moment_leave_no_trace() -> None:
    """5/s come and 10 wait; at 30 s and 31 s, 200 more are ready again and still counted as held."""

    def bump(at_s: float) -> int:
        return 200 * (30 <= at_s < 32)

    queue = _watch(range(40), lambda at_s: 1_000 + 5 * at_s + bump(at_s), lambda at_s: 10 + bump(at_s))
    assert oldest_at_s(queue, 10) == pytest.approx(37.2)


def test_after_a_purge_the_age_starts_afresh() -> None:
    queue = _watch(range(60), lambda at_s: 20 * at_s, lambda at_s: int(20 * at_s))
    queue = _watch(range(60, 70), lambda at_s: 20 * (at_s - 60), lambda at_s: 20 * int(at_s - 60), queue)
    assert oldest_at_s(queue, 180) == pytest.approx(60.05)


def test_retries_that_come_back_to_an_empty_queue_are_as_young_as_they_are() -> None:
    queue = _watch(range(100), lambda _: 500.0, lambda at_s: 80 if at_s >= 90 else 0)
    assert oldest_at_s(queue, 80) == 89.0


@pytest.mark.parametrize("count", [0.3, 0.1 + 0.2, 0.7])
def test_a_count_that_is_no_whole_message_yet_has_an_age_too(count: float) -> None:
    """Reports are interpolated: 0.3 of a message had been taken when one was seen ready."""
    assert oldest_at_s(Queue(points=((0.0, 0.0), (1.0, count))), 1) == 1.0
