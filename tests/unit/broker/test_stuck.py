"""Deliveries whose retry or dead letter finds no place."""

from __future__ import annotations

from hermes_ray.broker.stuck import Stuck


def test_each_has_a_reason_and_counts_once() -> None:
    stuck = Stuck()
    stuck.wait(1, "q.dead", "full")
    stuck.wait(1, "q.dead", "still full")
    stuck.hold(2, "dead_lettered_attempts", "too large")
    stuck.hold(3, "retried", "too much")
    assert stuck.said == (3, "too large")
    assert stuck.in_all == 3
    assert stuck.dead == {2: "dead_lettered_attempts"}, "a retry is not dead"
    assert stuck.is_without_room("q.dead")
    assert not stuck.is_without_room("q.wait.100")
    stuck.let_go(2)
    assert (stuck.said, stuck.dead) == ((2, "too much"), {})
    stuck.let_go(3)
    assert stuck.said == (1, "still full")
    stuck.wait_no_more(1)
    assert stuck.count == 0
    stuck.clear()
    assert stuck.count == 0
    assert stuck.in_all == 3, "cumulative"
