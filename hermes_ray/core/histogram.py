"""Log-bucket histograms of durations: mergeable, differentiable, and the same in every process.

A histogram is a plain tuple of ``BUCKET_COUNT`` counts. Bucket 0 holds what is below 1 ms, bucket ``i`` what lies in
``[0.001 x 2**((i-1)/4), 0.001 x 2**(i/4))`` seconds, the last one everything from 79,806 s (22 h) on. The empty tuple
stands for all zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import exp2, log2
from operator import add as _plus
from operator import sub as _minus

__all__ = ["BUCKET_COUNT", "COARSE_BUCKETS_S", "DURATION_BUCKETS_S", "add", "bucket", "coarse", "quantile", "subtract"]

_PER_OCTAVE = 4
_FIRST_S = 0.001
_FIRST_LOG2 = log2(_FIRST_S)
_INNER_COUNT = 105
_LAST_S = _FIRST_S * exp2(_INNER_COUNT / _PER_OCTAVE)

BUCKET_COUNT = _INNER_COUNT + 2

# Go Hermes' buckets, which its dashboards know; upper bounds, which belong to the bucket, and one more beyond the last.
DURATION_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_PER_COARSE = 2 * _PER_OCTAVE
COARSE_BUCKETS_S = tuple(round(_FIRST_S * 4**n, 3) for n in range(14))  # 1 ms, 4 ms, 16 ms ... 67,109 s


def bucket(value_s: float) -> int:
    """The bucket a duration falls in, 0 to ``BUCKET_COUNT - 1``; negative ones count as 0, NaN as endless.

    2.0 s is 10.97 octaves above 1 ms: bucket ``int(4 x 10.97) + 1 = 44``, which spans 1.72 to 2.05 s.
    """
    if value_s < _FIRST_S:
        return 0
    if not value_s < _LAST_S:
        return BUCKET_COUNT - 1
    return int(_PER_OCTAVE * (log2(value_s) - _FIRST_LOG2)) + 1


def add(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """The histogram of both together."""
    if not left or not right:
        return left or right
    return tuple(map(_plus, left, right))


def subtract(later: tuple[int, ...], earlier: tuple[int, ...]) -> tuple[int, ...]:
    """What came between two cumulative histograms; never negative, whatever was lost on the way."""
    if not earlier or not later:
        return later
    if later == earlier:
        return ()
    between = tuple(map(_minus, later, earlier))
    return between if min(between) >= 0 else tuple(max(0, count) for count in between)


def quantile(counts: Sequence[int], ratio: float) -> float | None:
    """The duration that ``ratio`` (0 to 1) of the values do not exceed, in seconds; None of an empty histogram.

    Interpolated geometrically inside the bucket (linearly below 1 ms), so off by less than one bucket's width: a
    factor of 2**0.25, 19 %. In the last bucket the answer is its lower edge: "at least 22 h". With 100 values between
    1.72 and 2.05 s, the 0.5 quantile is 1.88 s.
    """
    totals = list(accumulate(counts))
    if not totals or totals[-1] == 0:
        return None
    rank = ratio * totals[-1]
    index = next(i for i, total in enumerate(totals) if total >= rank and counts[i])
    inside = (rank - (totals[index] - counts[index])) / counts[index]
    if index == 0:
        return _FIRST_S * inside
    if index == BUCKET_COUNT - 1:
        return _LAST_S
    octaves = (index - 1 + inside) / _PER_OCTAVE
    return _FIRST_S * exp2(octaves)


def coarse(counts: Sequence[int]) -> tuple[int, ...]:
    """The same values per bucket of ``COARSE_BUCKETS_S`` and one beyond; exact, since every 8th edge is kept."""
    edges = (0, *(_PER_COARSE * n + 1 for n in range(len(COARSE_BUCKETS_S))), BUCKET_COUNT)
    return tuple(sum(counts[start:end]) for start, end in pairwise(edges))
