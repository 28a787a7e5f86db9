from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from hermes_ray.core.explain import explain
from hermes_ray.core.model import REASON_MEANINGS, Decision, Limiter, Reason, Snapshot, TopicParams

PARAMS = TopicParams(topic="t")
SEEN = Snapshot(
    topic="t",
    at_s=0.0,
    ready_count=412,
    held_count=0,
    arrival_rate_hz=31.0,
    service_rate_hz=2.6,
    service_p95_s=9.0,
    oldest_age_s=9.2,
)
DECISION = Decision(topic="t", at_s=0.0, before=8, target=13, reason=Reason.DEMAND, limiters=(), snapshot=SEEN, text="")


def _explain(decision: Decision, params: TopicParams = PARAMS, *, is_capacity_known: bool = True) -> str:
    return explain(decision, params, is_capacity_known=is_capacity_known)


def test_a_decision_says_what_it_saw_and_what_the_number_is_good_for() -> None:
    assert _explain(DECISION) == (
        "8 -> 13 workers: 412 waiting, oldest 9 s, arrivals 31/s, one slot does 2.6/s; "
        "13 keeps the wait under 21 of 30 s"
    )


def test_what_waits_too_long_already_is_promised_no_more_than_to_be_cleared() -> None:
    late = replace(DECISION, snapshot=replace(SEEN, oldest_age_s=11.0))
    assert _explain(late).endswith(
        "oldest 11 s, arrivals 31/s, one slot does 2.6/s; 13 clears what waits within 10.5 s"
    )


def test_a_number_that_stays_still_says_what_it_is_good_for() -> None:
    assert _explain(replace(DECISION, before=13, reason=Reason.STEADY)) == (
        "13 workers: 412 waiting, oldest 9 s, arrivals 31/s, one slot does 2.6/s; 13 keeps the wait under 21 of 30 s"
    )


CAPPED = replace(
    DECISION, reason=Reason.WORKERS_MAX, limiters=(Limiter(reason=Reason.WORKERS_MAX, before=15, after=13),)
)


def test_a_number_cut_below_what_was_wanted_says_how_soon_it_clears_what_waits() -> None:
    assert _explain(CAPPED) == (
        "8 -> 13 workers: 412 waiting, oldest 9 s, arrivals 31/s, one slot does 2.6/s; "
        "13 clears what waits within 147 s; capped from 15 by workers.max"
    )
    held = replace(CAPPED, snapshot=replace(SEEN, held_count=8))
    assert "; 13 clears what waits within 5.97 s; " in _explain(held, replace(PARAMS, concurrency=3)), "420 / 70.4"


@pytest.mark.parametrize(("target", "words"), [(11, "11 do not keep up"), (1, "1 does not keep up")])
def test_a_number_cut_below_what_arrives_says_so(target: int, words: str) -> None:
    cut = Limiter(reason=Reason.CAPACITY, before=15, after=target)
    decision = replace(DECISION, target=target, reason=Reason.CAPACITY, limiters=(cut,))
    assert _explain(decision).endswith(f"; {words} with arrivals; cut from 15 by the room in the cluster")
    assert f"; {words} with arrivals; " in _explain(replace(decision, snapshot=replace(SEEN, ready_count=0)))


@pytest.mark.parametrize(
    ("spare_hz", "words"),
    [
        (412 / 86_000, "13 clears what waits within 86000 s"),
        (412 / 87_000, "13 do not clear what waits within a day"),
        (1e-7, "13 do not clear what waits within a day"),
    ],
)
def test_more_than_a_day_to_clear_what_waits_is_no_number(spare_hz: float, words: str) -> None:
    slow = replace(CAPPED, snapshot=replace(SEEN, arrival_rate_hz=13 * 2.6 - spare_hz))
    assert f"; {words}; capped from 15 by workers.max" in _explain(slow)
    one = replace(slow, target=1, snapshot=replace(slow.snapshot, arrival_rate_hz=2.6 - 1e-7))
    assert "; 1 does not clear what waits within a day; " in _explain(one)


@pytest.mark.parametrize("signal", ["ready_count", "held_count", "arrival_rate_hz", "service_rate_hz"])
def test_a_number_cut_where_a_signal_is_missing_promises_nothing(signal: str) -> None:
    unknown: dict[str, Any] = {signal: None}
    assert " 13 " not in _explain(replace(CAPPED, snapshot=replace(SEEN, **unknown))).partition(":")[2]


def test_a_number_cut_with_nothing_to_clear_and_one_of_another_policy_promise_nothing() -> None:
    assert _explain(replace(CAPPED, snapshot=replace(SEEN, ready_count=0))).endswith(
        "/s; capped from 15 by workers.max"
    )
    assert _explain(CAPPED, replace(PARAMS, policy="threshold")).endswith("/s; capped from 15 by workers.max")


def test_no_workers_and_other_policies_promise_nothing() -> None:
    assert _explain(replace(DECISION, target=0)).endswith("one slot does 2.6/s")
    steady = replace(DECISION, before=13, reason=Reason.STEADY)
    assert _explain(steady, replace(PARAMS, policy="threshold")).endswith("one slot does 2.6/s")


def test_one_worker_is_no_plural_and_what_is_unknown_is_left_out() -> None:
    blind = replace(DECISION, target=1, before=1, reason=Reason.NO_DATA, snapshot=Snapshot(topic="t", at_s=0.0))
    assert _explain(blind) == "1 worker: unknown waiting, arrivals unknown; held, because data is missing"


def test_an_empty_queue_has_no_oldest_message() -> None:
    idle = replace(DECISION, target=0, snapshot=replace(SEEN, ready_count=0, held_count=3, oldest_age_s=0.0))
    assert _explain(idle) == "8 -> 0 workers: 0 waiting, 3 held, arrivals 31/s, one slot does 2.6/s"


def test_every_reason_has_a_meaning_in_one_line() -> None:
    assert list(REASON_MEANINGS) == list(Reason)
    assert all(re.fullmatch(r"[A-Z][^\n|]+\.", meaning) for meaning in REASON_MEANINGS.values())


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_known_to_the_sentence(reason: Reason) -> None:
    assert _explain(replace(DECISION, reason=reason)).startswith("8 -> 13 workers: 412 waiting")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.PINNED, "pinned by hand"),
        (Reason.PAUSED, "paused by hand"),
        (Reason.STOPPED, "stopped by hand"),
        (Reason.FIRST_WORKER, "a first worker for what waits"),
        (Reason.FIXED, "fixed at workers.max"),
        (Reason.THRESHOLD, "by the threshold rule"),
        (Reason.COOLDOWN, "held by the threshold rule's cooldown"),
    ],
)
def test_each_reason_has_its_words(reason: Reason, words: str) -> None:
    assert _explain(replace(DECISION, reason=reason)).endswith(f"one slot does 2.6/s; {words}")


@pytest.mark.parametrize(
    ("reason", "before", "words"),
    [
        (Reason.STABILISING, 4, "kept above 4 by the last 60 s"),
        (Reason.WORKERS_MIN, 4, "raised from 4 by workers.min"),
        (Reason.WORKERS_MAX, 20, "capped from 20 by workers.max"),
        (Reason.STARTS_FAIL, 20, "cut from 20: workers do not start, so others come first"),
        (Reason.CAPACITY, 20, "cut from 20 by the room in the cluster"),
        (Reason.MIN_STEP, 12, "raised from 12 by min_step"),
        (Reason.MAX_STEP, 20, "capped from 20 by max_step"),
    ],
)
def test_a_limiter_says_what_it_changed(reason: Reason, before: int, words: str) -> None:
    limited = replace(DECISION, reason=reason, limiters=(Limiter(reason=reason, before=before, after=13),))
    assert _explain(limited).endswith(f"; {words}")


@pytest.mark.parametrize(
    ("reason", "was", "words"),
    [(Reason.MIN_STEP, 14, "lowered from 14 by min_step"), (Reason.MAX_STEP, 12, "kept above 12 by max_step")],
)
def test_a_bound_of_a_step_down_says_which_way_it_moved_the_number(reason: Reason, was: int, words: str) -> None:
    limited = replace(DECISION, before=16, reason=reason, limiters=(Limiter(reason=reason, before=was, after=13),))
    assert _explain(limited).endswith(f"one slot does 2.6/s; {words}")


def test_a_cut_without_knowing_the_cluster_says_so() -> None:
    cut = replace(DECISION, reason=Reason.CAPACITY, limiters=(Limiter(reason=Reason.CAPACITY, before=20, after=13),))
    assert _explain(cut, is_capacity_known=False).endswith("; cut from 20 by a cluster whose room is unknown")


@pytest.mark.parametrize(
    ("rate_hz", "words"),
    [(0.016666, "0.0167/s"), (2.6, "2.6/s"), (31.04, "31/s"), (412.4, "412/s"), (1e6, "1000000/s")],
)
def test_numbers_have_as_many_digits_as_mean_something(rate_hz: float, words: str) -> None:
    assert f"arrivals {words}," in _explain(replace(DECISION, snapshot=replace(SEEN, arrival_rate_hz=rate_hz)))


def test_workers_that_are_kept_for_want_of_a_place_for_new_ones_are_said_with_what_is_missing() -> None:
    kept = replace(DECISION, before=3, target=3, is_kept=True, reason=Reason.STEADY)
    said = explain(kept, PARAMS, is_capacity_known=True, lack="1 GPU short on every node")
    assert said.startswith("3 workers: 412 waiting")
    assert said.endswith("; those of the former size work on, no room for one of the new: 1 GPU short on every node")
