from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hermes_ray.core.demand import Checks, demand_slots, threshold, wanted, whole
from hermes_ray.core.model import Reason, Snapshot, ThresholdRule, TopicParams

PARAMS = TopicParams(topic="t", concurrency=4, workers_max=100)
SEEN = Snapshot(
    topic="t", at_s=0.0, ready_count=400, held_count=12, arrival_rate_hz=31.0, service_rate_hz=2.6, service_p95_s=10.0
)
RULE = ThresholdRule(interval_s=30.0, cooldown_s=60.0)


def _slots(
    *,
    arrival_rate_hz: float = 20.0,
    service_rate_hz: float = 2.0,
    waiting_count: int,
    unsettled_count: int = 1_000,
    slack_s: float = 20.0,
) -> float:
    return demand_slots(
        arrival_rate_hz=arrival_rate_hz,
        service_rate_hz=service_rate_hz,
        waiting_count=waiting_count,
        unsettled_count=unsettled_count,
        slack_s=slack_s,
    )


@pytest.mark.parametrize(("number", "expected"), [(3.0, 3), (3.0000000001, 3), (2.9999999999, 3), (3.1, 4), (0.0, 0)])
def test_rounding_up_is_blind_to_float_noise(number: float, expected: int) -> None:
    assert whole(number) == expected


def test_the_worked_number_of_the_formula_holds() -> None:
    slots = _slots(arrival_rate_hz=31.0, service_rate_hz=2.6, waiting_count=412, slack_s=20.0)
    assert slots == pytest.approx(31 / (0.8 * 2.6) + (412 - 0.25 * 31 * 10) / (2.6 * 10))
    assert wanted(SEEN, PARAMS) == 7


def test_a_backlog_that_the_spare_slots_clear_asks_for_nothing_more() -> None:
    assert _slots(waiting_count=0) == 12.5
    assert _slots(waiting_count=50) == 12.5
    assert _slots(waiting_count=51) > 12.5


def test_what_waits_by_chance_asks_for_nothing_more() -> None:
    """16 slots of 10 s are busy of 20: 2 x 4 messages wait now and then, and slots busy for long do not clear them."""
    assert _slots(arrival_rate_hz=1.6, service_rate_hz=0.1, waiting_count=8, slack_s=10.0) == 20.0
    assert _slots(arrival_rate_hz=1.6, service_rate_hz=0.1, waiting_count=9, slack_s=10.0) == 21.0


def test_messages_in_handlers_do_not_count_as_waiting() -> None:
    """Four a second of 20 s each keep 80 slots busy, which are 100 at 80 %."""
    busy = replace(
        SEEN, ready_count=0, held_count=80, running_count=80, arrival_rate_hz=4.0, service_rate_hz=0.05,
        service_p95_s=20.0,
    )  # fmt: skip
    assert wanted(busy, PARAMS) == 25


def test_there_are_never_more_slots_than_messages_that_they_could_be_for() -> None:
    """Of 60 s each, 2/s keep 120 slots busy one day; so far there are 10 messages, and 3 more come within 1.5 s."""
    few = _slots(arrival_rate_hz=2.0, service_rate_hz=1 / 60, waiting_count=0, unsettled_count=10, slack_s=3.0)
    assert few == pytest.approx((10 + 3) / 0.8)


def test_a_pool_within_three_per_cent_of_what_it_should_be_is_kept() -> None:
    seen = replace(SEEN, ready_count=0, held_count=320, running_count=320, service_rate_hz=1.0)
    for rate_hz, current, expected in ((320, 103, 103), (320, 104, 97), (320, 97, 97), (324, 97, 99), (320, 0, 97)):
        assert wanted(replace(seen, arrival_rate_hz=float(rate_hz)), PARAMS, current) == expected


def test_one_slot_for_each_message_is_the_most_that_a_backlog_asks_for() -> None:
    assert _slots(arrival_rate_hz=0.0, service_rate_hz=0.001, waiting_count=5, slack_s=3.0) == 5.0


def test_one_long_running_message_keeps_a_worker() -> None:
    seen = replace(SEEN, ready_count=0, held_count=1, arrival_rate_hz=0.0, service_rate_hz=1_000.0)
    assert wanted(seen, PARAMS) == 1


def test_service_tails_beyond_the_objective_leave_a_tenth_of_it_as_slack() -> None:
    seen = replace(SEEN, arrival_rate_hz=0.0, service_p95_s=100.0, ready_count=24, held_count=0, service_rate_hz=2.0)
    assert wanted(seen, PARAMS) == 2  # 24 / (2 x 1.5) = 8 slots


def test_an_idle_topic_wants_nothing_even_if_its_service_rate_is_unknown() -> None:
    assert wanted(Snapshot(topic="t", at_s=0, ready_count=0, held_count=0, arrival_rate_hz=0.0), PARAMS) == 0


@pytest.mark.parametrize("signal", ["ready_count", "held_count", "arrival_rate_hz", "service_rate_hz"])
def test_a_missing_signal_is_no_recommendation(signal: str) -> None:
    unknown: dict[str, Any] = {signal: None}
    assert wanted(replace(SEEN, **unknown), PARAMS) is None


def _play(ready: list[int | None], current: int, rule: ThresholdRule = RULE) -> list[tuple[int, Reason]]:
    """The rule at one check after another, its targets applied at once."""
    params = replace(PARAMS, threshold=rule, workers_min=1, workers_max=50)
    checks, _ = threshold(Checks(), SEEN, params, current, 0.0)
    steps = []
    for i, count in enumerate(ready, start=1):
        seen = replace(SEEN, ready_count=count)
        checks, proposal = threshold(checks, seen, params, current, rule.interval_s * i)
        current = proposal.with_max_step
        steps.append((current, proposal.reason))
    return steps


def test_the_threshold_rule_grows_by_a_ratio_after_two_checks_above() -> None:
    assert _play([150, 150], current=20) == [(20, Reason.STEADY), (24, Reason.THRESHOLD)]


def test_the_threshold_rule_shrinks_by_a_ratio_after_three_checks_below() -> None:
    assert [workers for workers, _ in _play([5, 5, 5], current=20)] == [20, 20, 18]


def test_a_check_between_the_limits_starts_the_count_again() -> None:
    assert [workers for workers, _ in _play([150, 50, 150, 150], current=20)] == [20, 20, 20, 24]


def test_the_limits_themselves_are_neither_above_nor_below() -> None:
    assert [workers for workers, _ in _play([100, 100, 10, 10, 10], current=20)] == [20] * 5


def test_after_an_action_the_threshold_rule_cools_down() -> None:
    rule = replace(RULE, up_checks=1, cooldown_s=90.0)
    assert _play([150, 150, 150, 150], 20, rule) == [
        (24, Reason.THRESHOLD),
        (24, Reason.COOLDOWN),
        (24, Reason.COOLDOWN),
        (28, Reason.THRESHOLD),
    ]


@pytest.mark.parametrize(("current", "after"), [(0, 2), (5, 7), (30, 36), (45, 52)])
def test_steps_of_the_threshold_rule_have_a_least_and_a_most(current: int, after: int) -> None:
    rule = replace(RULE, min_step=2, max_step=7, up_checks=1)
    assert _play([150], current, rule) == [(after, Reason.THRESHOLD)]


@pytest.mark.parametrize(
    ("ready", "current", "numbers"),
    [
        (150, 5, (6, 7, 7)),
        (150, 30, (36, 36, 36)),
        (150, 45, (54, 54, 52)),
        (5, 2, (2, 0, 0)),
        (5, 1, (1, 0, 0)),
        (5, 90, (81, 81, 83)),
    ],
)
def test_the_threshold_rule_says_what_its_ratio_asks_for_and_what_each_bound_of_its_step_makes_of_it(
    ready: int, current: int, numbers: tuple[int, int, int]
) -> None:
    rule = replace(RULE, min_step=2, max_step=7, up_checks=1, down_checks=1)
    params, seen = replace(PARAMS, threshold=rule), replace(SEEN, ready_count=ready)
    _, proposal = threshold(Checks(checked_at_s=0.0), seen, params, current, rule.interval_s)
    assert (proposal.by_ratio, proposal.with_min_step, proposal.with_max_step) == numbers


def test_the_threshold_rule_does_not_act_at_its_limits() -> None:
    assert [workers for workers, _ in _play([150, 150, 150], current=50)] == [50] * 3
    assert [workers for workers, _ in _play([0, 0, 0, 0], current=1)] == [1] * 4


def test_an_unknown_depth_is_no_check() -> None:
    assert [workers for workers, _ in _play([150, None, 150], current=20)] == [20, 20, 24]


def test_between_checks_the_threshold_rule_only_waits() -> None:
    checks, first = threshold(Checks(), SEEN, replace(PARAMS, threshold=RULE), 4, 100.0)
    assert (first.with_max_step, first.reason) == (4, Reason.STEADY)
    assert threshold(checks, SEEN, replace(PARAMS, threshold=RULE), 4, 129.0) == (checks, first)
