from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import pytest

from hermes_ray.core.conditions import MEANINGS, Condition, Troubles, conditions
from hermes_ray.core.model import Decision, Limiter, Reason, Snapshot, TopicParams, WorkerCounts

CALM = Snapshot(
    topic="t",
    at_s=0.0,
    ready_count=0,
    retrying_count=0,
    held_count=2,
    running_count=2,
    service_p95_s=2.0,
    wait_p95_s=0.1,
    oldest_age_s=0.0,
    finish_rate_hz=3.0,
    utilisation_ratio=0.5,
    longest_running_s=1.0,
    workers=WorkerCounts(observed=2),
)
PARAMS = TopicParams(topic="t", latency_objective_s=30.0)


def _seen(probe_failures: int = 0, start_failures: int = 0, decision: Decision | None = None, **seen: Any) -> set[str]:
    found = conditions(
        replace(CALM, **seen),
        decision,
        PARAMS,
        Troubles(probe_failure_count=probe_failures, start_failure_count=start_failures),
    )
    return set(found)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_troubles_of_workers_are_said_while_there_are_any(count: int) -> None:
    seen = functools.partial(conditions, CALM, None, PARAMS)
    silent, idle = seen(Troubles(unresponsive_count=count)), seen(Troubles(not_consuming_count=count))
    assert seen(Troubles(hung_count=count)) == ({Condition.SLOT_HUNG} if count else set())
    assert seen(Troubles(unmovable_count=count)) == ({Condition.UNMOVABLE} if count else set())
    assert silent == ({Condition.UNRESPONSIVE} if count else set())
    assert idle == ({Condition.NOT_CONSUMING} if count else set())


def _cut(reason: Reason, before: int, after: int) -> Decision:
    limiters = (Limiter(reason=reason, before=before, after=after),)
    return Decision(
        topic="t", at_s=0.0, before=1, target=after, reason=reason, limiters=limiters, snapshot=CALM, text=""
    )


def test_nothing_is_wrong_with_a_topic_at_work() -> None:
    assert _seen() == set()


def test_of_a_topic_nothing_is_known_of_nothing_is_said() -> None:
    unknown = Snapshot(topic="t", at_s=0.0)
    assert not conditions(unknown, None, PARAMS, Troubles())


@pytest.mark.parametrize(
    ("failures", "ready", "failing"), [(0, None, False), (1, 0, False), (2, 7, False), (3, 7, True), (1, None, True)]
)
def test_probes_fail_after_three_in_a_row_or_once_the_depth_is_forgotten(
    failures: int, ready: int | None, failing: bool
) -> None:
    assert (Condition.PROBE_FAILING in _seen(probe_failures=failures, ready_count=ready)) is failing


def test_one_failed_start_is_said_until_one_succeeds() -> None:
    assert _seen(start_failures=1) == {Condition.START_FAILING}
    assert _seen(start_failures=1, decision=_cut(Reason.WORKERS_MAX, 9, 1)) == {Condition.START_FAILING}
    assert _seen(start_failures=1, decision=_cut(Reason.WORKERS_MAX, 9, 0)) == set(), (
        "where nobody is wanted nobody fails"
    )


@pytest.mark.parametrize(
    ("running_s", "usual_s", "finishes_hz", "stalled"),
    [
        (61.0, 2.0, 0.0, True),
        (59.0, 2.0, 0.0, False),
        (61.0, 2.0, 0.1, False),  # the others go on
        (179.0, 180.0, 0.0, False),  # three minutes are its way
        (539.0, 180.0, 0.0, False),
        (541.0, 180.0, 0.0, True),
        (61.0, 2.0, None, False),
    ],
)
def test_stalled_is_a_handler_far_beyond_its_usual_time_while_none_ends(
    running_s: float, usual_s: float, finishes_hz: float | None, stalled: bool
) -> None:
    found = _seen(longest_running_s=running_s, service_p95_s=usual_s, finish_rate_hz=finishes_hz)
    assert (Condition.STALLED in found) is stalled


@pytest.mark.parametrize(("running_s", "stalled"), [(89.0, False), (91.0, True)])
def test_a_first_handler_that_never_ends_is_measured_by_the_objective(running_s: float, stalled: bool) -> None:
    found = _seen(longest_running_s=running_s, service_p95_s=running_s, finish_rate_hz=0.0)
    assert (Condition.STALLED in found) is stalled


def test_stalled_are_workers_that_leave_ready_messages_alone_for_a_minute() -> None:
    alone: dict[str, Any] = {"ready_count": 5, "running_count": 0, "longest_running_s": 0.0, "finish_rate_hz": 0.0}
    assert Condition.STALLED in _seen(**alone, oldest_age_s=61.0)
    assert Condition.STALLED not in _seen(**alone, oldest_age_s=59.0)
    assert Condition.STALLED not in _seen(**alone, oldest_age_s=None)
    assert Condition.STALLED not in _seen(**alone, oldest_age_s=61.0, workers=WorkerCounts(starting=2))
    assert Condition.STALLED not in _seen(**(alone | {"running_count": 1}), oldest_age_s=61.0)


def test_saturated_is_every_slot_busy_and_more_waiting() -> None:
    assert _seen(ready_count=9, utilisation_ratio=0.96) == {Condition.SATURATED}
    assert _seen(ready_count=0, utilisation_ratio=0.96) == set()
    assert _seen(ready_count=9, utilisation_ratio=0.94) == set()
    assert _seen(ready_count=9, utilisation_ratio=None) == set()


def test_slow_handlers_saturate_too_though_none_ended_in_the_last_ten_seconds() -> None:
    slow: dict[str, Any] = {"ready_count": 9, "utilisation_ratio": 1.0, "finish_rate_hz": 0.0}
    assert Condition.SATURATED in _seen(**slow, longest_running_s=170.0, service_p95_s=180.0)


def test_hanging_slots_are_stalled_and_not_saturated() -> None:
    hanging = _seen(ready_count=9, utilisation_ratio=1.0, finish_rate_hz=0.0, longest_running_s=100.0)
    assert hanging == {Condition.STALLED}


def test_capacity_is_exhausted_when_it_cut_the_decision() -> None:
    assert _seen(decision=_cut(Reason.CAPACITY, 9, 4)) == {Condition.CAPACITY_EXHAUSTED}
    assert _seen(decision=_cut(Reason.WORKERS_MAX, 9, 4)) == set()


@pytest.mark.parametrize(
    ("ready", "oldest_s", "waited_s", "at_risk"),
    [
        (3, 28.5, None, True),
        (3, 27.5, None, False),
        (0, 0.0, 28.5, True),
        (3, 1.0, 28.5, True),
        (3, None, None, False),
        (0, 0.0, None, False),
    ],
)
def test_the_objective_is_at_risk_when_waiting_and_then_handling_take_longer(
    ready: int, oldest_s: float | None, waited_s: float | None, at_risk: bool
) -> None:
    found = _seen(ready_count=ready, oldest_age_s=oldest_s, wait_p95_s=waited_s)
    assert (Condition.OBJECTIVE_AT_RISK in found) is at_risk


def test_a_slow_handler_alone_puts_nothing_at_risk_while_no_message_comes() -> None:
    assert _seen(service_p95_s=60.0, wait_p95_s=None) == set()


def test_each_condition_has_one_sentence() -> None:
    assert set(MEANINGS) == set(Condition)
    assert all(text.endswith(".") and text.count(".") == 1 for text in MEANINGS.values())
