from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import pytest

from hermes_ray.broker import ack_ledger
from hermes_ray.broker.ack_ledger import AckLedger
from hermes_ray.core.retry_rungs import retry_rung_ms, rungs_ms
from hermes_ray.worker.prefetch import prefetch_count

OURS = (ack_ledger.__file__, __file__)  # whatever else this process does meanwhile


def ledger(delivered: int, settled: Sequence[int], given_back: Sequence[int] = ()) -> AckLedger:
    made = AckLedger()
    made.add(1, delivered)
    for tag in given_back:
        made.give_back(tag)
    for tag in settled:
        made.settle(tag)
    return made


def test_the_worked_example_of_flush() -> None:
    assert ledger(6, [1, 2, 4, 5, 6]).flush() == [(2, True), (4, False), (5, False), (6, False)]


def test_a_whole_batch_is_acked_in_one_frame_whatever_the_order_it_was_settled_in() -> None:
    assert ledger(5, [3, 1, 5, 2, 4]).flush() == [(5, True)]


def test_nothing_due_sends_nothing() -> None:
    made = ledger(3, [1, 2, 3])
    assert (made.due_count, made.open_count) == (3, 3)
    made.flush()
    assert (made.flush(), made.due_count, made.open_count) == ([], 0, 0)


def test_a_slow_first_message_holds_no_ack_back_and_is_acked_alone_in_the_end() -> None:
    made = ledger(4, [2, 3])
    assert made.flush() == [(2, False), (3, False)]
    made.settle(4)
    assert made.flush() == [(4, False)]
    made.settle(1)
    assert made.flush() == [(1, True)]
    assert made.open_count == 0


def test_a_frame_may_pass_over_what_was_given_back_but_never_names_it() -> None:
    assert ledger(4, [1, 4], given_back=[2, 3]).flush() == [(4, True)]
    assert ledger(4, [1], given_back=[2, 3, 4]).flush() == [(1, True)]
    assert ledger(2, [], given_back=[1, 2]).flush() == []


def test_tags_that_never_reached_us_stand_in_nobodys_way() -> None:
    made = AckLedger()
    made.add(1, 2)
    made.add(5, 6)
    for tag in (1, 2, 5, 6):
        made.settle(tag)
    assert made.open_count == 4
    assert made.flush() == [(6, True)]


def test_what_is_kept_does_not_grow_with_what_comes_after_one_that_runs_for_hours() -> None:
    made, prefetch = AckLedger(), 500
    made.add(1, prefetch)

    def settle_beyond_the_first(first: int, last: int) -> None:
        for tag in range(first, last, 100):
            for each in range(tag, tag + 100):
                made.settle(each)
            assert made.flush() == [(each, False) for each in range(tag, tag + 100)]
            made.add(tag + prefetch - 1, tag + prefetch + 98)

    settle_beyond_the_first(2, 1_002)
    tracemalloc.start()
    try:
        settle_beyond_the_first(1_002, 201_002)
        taken = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, file) for file in OURS])
        kept_bytes = sum(each.size for each in taken.statistics("filename"))
    finally:
        tracemalloc.stop()
    assert made.open_count == prefetch
    assert kept_bytes < 200 * prefetch
    made.settle(1)
    made.settle(201_002)
    assert made.flush() == [(201_002, True)]


def test_the_rungs_of_the_worked_example() -> None:
    assert rungs_ms(1.0, 1800.0, 5) == (1000, 1414, 2000, 2828, 4000, 5657, 8000, 11314)


@pytest.mark.parametrize(
    ("base_s", "max_s", "attempts", "rungs"),
    [
        (1.0, 1800.0, 1, ()),
        (1.0, 1800.0, 2, (1000, 1414)),
        (1.0, 4.0, 9, (1000, 1414, 2000, 2828, 4000)),
        (5.0, 1.0, 5, (5000,)),
        (0.01, 0.02, 5, (10, 14, 20)),
    ],
)
def test_rungs_stay_between_base_and_max(base_s: float, max_s: float, attempts: int, rungs: tuple[int, ...]) -> None:
    assert rungs_ms(base_s, max_s, attempts) == rungs


def test_a_retry_waits_one_rung_below_at_or_above_the_doubled_delay() -> None:
    rungs = rungs_ms(1.0, 1800.0, 5)
    offered: list[tuple[int, ...]] = []

    def choose(some: Sequence[int]) -> int:
        offered.append(tuple(some))
        return some[0]

    for failures in (1, 2, 3, 4, 9):
        retry_rung_ms(rungs, failures, choose)
    assert offered == [(1000, 1414), (1414, 2000, 2828), (2828, 4000, 5657), (5657, 8000, 11314), (8000, 11314)]


@pytest.mark.parametrize(
    ("service_s", "concurrency", "expected"),
    [(None, 4, 4), (60.0, 4, 4), (0.01, 4, 84), (0.0, 4, 500), (0.000001, 600, 600), (0.2, 1, 2)],
)
def test_prefetch_is_a_slot_each_and_a_fifth_of_a_second_of_work(
    service_s: float | None, concurrency: int, expected: int
) -> None:
    assert prefetch_count(service_s, concurrency) == expected
