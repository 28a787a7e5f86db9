from __future__ import annotations

import pytest

from hermes_ray.core.histogram import BUCKET_COUNT, COARSE_BUCKETS_S, add, bucket, coarse, quantile, subtract

DAY_S = 86_400.0


def _histogram(*values_s: float) -> tuple[int, ...]:
    counts = [0] * BUCKET_COUNT
    for value_s in values_s:
        counts[bucket(value_s)] += 1
    return tuple(counts)


@pytest.mark.parametrize(
    ("value_s", "index"),
    [(-1.0, 0), (0.0, 0), (0.0009, 0), (0.001, 1), (0.0011, 1), (0.0012, 2), (2.0, 44), (DAY_S, 106)],
)
def test_a_value_falls_in_the_bucket_of_its_size(value_s: float, index: int) -> None:
    assert bucket(value_s) == index


def test_endless_and_undefined_values_fall_in_the_last_bucket() -> None:
    assert bucket(float("inf")) == bucket(float("nan")) == BUCKET_COUNT - 1


def test_buckets_never_go_down_as_values_go_up_and_none_is_skipped() -> None:
    seen = [bucket(0.0005 * 1.01**i) for i in range(2_000)]
    assert seen == sorted(seen)
    assert set(seen) == set(range(BUCKET_COUNT))


def test_adding_and_subtracting_undo_each_other() -> None:
    earlier, later = _histogram(0.1, 2.0), _histogram(0.1, 5.0, 7.0)
    assert subtract(add(earlier, later), earlier) == later


def test_the_empty_tuple_is_all_zeros() -> None:
    some = _histogram(1.0)
    assert add((), some) == add(some, ()) == subtract(some, ()) == some
    assert sum(subtract((), some)) == 0
    assert add((), ()) == ()


def test_a_difference_is_never_negative_after_a_loss() -> None:
    assert sum(subtract(_histogram(1.0), _histogram(1.0, 1.0, 9.0))) == 0


def test_a_quantile_of_nothing_is_unknown() -> None:
    assert quantile((), 0.5) is None
    assert quantile(_histogram(), 0.95) is None


@pytest.mark.parametrize("ratio", [0.05, 0.5, 0.95, 0.99, 1.0])
def test_a_quantile_is_within_one_bucket_of_the_exact_one(ratio: float) -> None:
    values = [0.002 * 1.013**i for i in range(1_000)]
    found, exact = quantile(_histogram(*values), ratio), values[round(ratio * 1_000) - 1]
    assert found == pytest.approx(exact, rel=2**0.25 - 1)


def test_the_worked_number_of_the_median_holds() -> None:
    assert quantile(_histogram(*[2.0] * 100), 0.5) == pytest.approx(1.88, abs=0.005)


def test_quantiles_below_a_millisecond_are_linear_and_beyond_the_last_edge_they_stay_at_it() -> None:
    assert quantile(_histogram(0.0, 0.0), 0.5) == pytest.approx(0.0005)
    assert quantile(_histogram(1e9), 0.5) == pytest.approx(79_806, abs=1)


def test_the_coarse_buckets_keep_every_eighth_edge_exactly() -> None:
    assert len(COARSE_BUCKETS_S) == 14
    for number, bound_s in enumerate(COARSE_BUCKETS_S):
        below, at = coarse(_histogram(bound_s * 0.999)), coarse(_histogram(bound_s * 1.001))
        assert (below.index(1), at.index(1)) == (number, number + 1)


def test_coarse_counts_lose_none() -> None:
    fine = _histogram(*(0.0005 * 1.01**i for i in range(2_000)))
    assert sum(coarse(fine)) == sum(fine) == 2_000
    assert coarse(()) == (0,) * 15
