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


@pytest.mark.parametrize(("number", "expected"), [(3.0, 3), (3.0000000001, 3), (2.9999999999, 3), (3.1, 4), (0.0, 0)])
def test_rounding_up_is_blind_to_float_noise(number: float, expected: int) -> None:
    assert whole(number) == expected


def test_the_worked_number_of_the_formula_holds() -> None:
    slots = demand_slots(arrival_rate_hz=31.0, service_rate_hz=2.6, backlog_count=412, slack_s=20.0)
    assert slots == pytest.approx(31 / (0.8 * 2.6) + (412 - 0.25 * 31 * 10) / (2.6 * 10))
    assert wanted(SEEN, PARAMS) == 7


def test_a_backlog_that_the_spare_slots_clear_asks_for_nothing_more() -> None:
    steady = demand_slots(arrival_rate_hz=20.0, service_rate_hz=2.0, backlog_count=0, slack_s=20.0)
    assert steady == 12.5
    assert demand_slots(arrival_rate_hz=20.0, service_rate_hz=2.0, backlog_count=50, slack_s=20.0) == steady
    assert demand_slots(arrival_rate_hz=20.0, service_rate_hz=2.0, backlog_count=51, slack_s=20.0) > steady


def test_one_slot_for_each_message_is_the_most_that_a_backlog_asks_for() -> None:
    assert demand_slots(arrival_rate_hz=0.0, service_rate_hz=0.001, backlog_count=5, slack_s=3.0) == 5.0


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
