"""When what is settled goes on the wire."""

from __future__ import annotations

from hermes_ray.broker.ack_pace import FLUSH_DELAY_S, AckPace


def test_acks_of_a_moment_go_together() -> None:
    pace = AckPace(concurrency=4)
    pace.is_wake_pending = True
    assert pace.flush_in_s(100, in_hand_count=50) == FLUSH_DELAY_S
    assert pace.flush_in_s(100, in_hand_count=50) is None, "that flush takes it too"
    assert pace.is_wake_pending, "nobody else need wake up the thread"
    pace.flushing()
    assert not pace.is_wake_pending
    assert pace.flush_in_s(100, in_hand_count=50) == FLUSH_DELAY_S


def test_idle_slots_that_wait_for_an_ack_have_it_sent_at_once() -> None:
    pace = AckPace(concurrency=4)
    assert pace.flush_in_s(16, in_hand_count=3) == 0.0
    assert pace.flush_in_s(17, in_hand_count=3) == FLUSH_DELAY_S, "the next deliveries are here before it"
    assert AckPace(concurrency=4).flush_in_s(16, in_hand_count=4) == FLUSH_DELAY_S


def test_a_burst_is_of_several_small_deliveries_with_more_on_their_way() -> None:
    pace = AckPace(concurrency=4)
    assert pace.is_burst(17, 4, 1000)
    assert not pace.is_burst(16, 4, 1000), "the slots need what comes next"
    assert not pace.is_burst(17, 3, 1000)
    assert not pace.is_burst(17, 4, 1 << 15), "the next ones are there already"
