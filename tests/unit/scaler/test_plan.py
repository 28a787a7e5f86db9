"""What an apply wants of each worker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermes_ray.scaler.plan import revision, worker_spec
from tests.support.fleet_scene import plan


@pytest.mark.parametrize(("slot_count", "held_count"), [(4, 100), (256, 256)])
def test_who_serves_a_single_active_consumer_holds_as_many_from_its_start_on(slot_count: int, held_count: int) -> None:
    """A prefetch that changes takes another consumer, which the standby's would be."""
    usual = plan()
    single = replace(usual, single_active=frozenset({"light"}), concurrency={**usual.concurrency, "light": slot_count})
    assert worker_spec(usual, "light").prefetch is None
    assert worker_spec(single, "light").prefetch == held_count


def test_workers_from_before_their_queue_served_one_consumer_are_replaced() -> None:
    """Their prefetch would go on changing."""
    usual = plan()
    single = replace(usual, single_active=frozenset({"light"}))
    assert revision(usual, "light") != revision(single, "light")
    assert revision(usual, "heavy") == revision(single, "heavy")
