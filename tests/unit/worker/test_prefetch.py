"""How many messages a worker handles at once, where it may hold fewer than its handler's kind would take."""

from __future__ import annotations

import pytest

from hermes_ray.worker.prefetch import slots_per_worker


@pytest.mark.parametrize(
    ("concurrency", "prefetch", "expected"),
    [(None, None, 32), (8, None, 8), (None, 50, 32), (8, 8, 8), (None, 1, 1), (8, 1, 1)],
)
def test_a_worker_has_no_more_slots_than_messages(concurrency: int | None, prefetch: int | None, expected: int) -> None:
    assert slots_per_worker(concurrency, prefetch, 32) == expected
