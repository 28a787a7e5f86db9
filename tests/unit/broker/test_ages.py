"""How long the broker waits, by its version and its words, and which deliveries have waited for so long."""

from __future__ import annotations

import pytest

from hermes_ray.broker.ages import AckTimeout, Ages

LATE = "PRECONDITION_FAILED - delivery acknowledgement"


def test_the_last_of_those_that_came_until_a_moment_is_told() -> None:
    ages = Ages()
    for now_s, last in ((10.0, 3), (10.5, 7), (11.2, 9), (20.0, 10)):
        ages.note(now_s, last)
    assert [ages.before(s) for s in (9.0, 10.0, 10.0, 11.2, 19.9, 20.0, 99.0)] == [0, 7, 7, 9, 9, 10, 10]


def test_where_nothing_has_arrived_by_a_moment_nothing_is_forgotten() -> None:
    ages = Ages()
    for now_s in (9.0, 10.0, 11.0):
        ages.note(now_s, int(now_s))
    ages.forget(8.0)
    assert [ages.before(s) for s in (9.5, 10.5, 11.5)] == [9, 10, 11]


def test_a_day_of_deliveries_is_kept_to_the_second() -> None:
    ages = Ages()
    for n in range(100_000):
        ages.note(n / 1000, n)
        ages.forget(n / 1000 - 27.0)
    assert len(ages._tags) <= 29
    assert ages.before(99.999 - 27.0) >= 72_000


@pytest.mark.parametrize(
    ("timeout_s", "version", "queue_type", "limit_s", "arguments"),
    [
        (1800.0, "3.10.8", "quorum", 1620.0, {}),
        (1800.0, "3.10.8", "classic", 1620.0, {}),
        (1800.0, "4.2.9", "quorum", 1620.0, {}),
        (1800.0, "4.3.0", "quorum", 1620.0, {"x-consumer-timeout": 1_800_000}),
        (1800.0, "4.3.0-rc.1", "quorum", 1620.0, {"x-consumer-timeout": 1_800_000}),
        (0.5, "5.0.1", "quorum", 0.45, {"x-consumer-timeout": 500}),
        (1800.0, "4.3.0", "classic", None, {}),
        (None, "4.3.0", "quorum", None, {"x-consumer-timeout": 10**12}),
        (None, "3.10.8", "quorum", None, {}),
        (1800.0, "", "quorum", 1620.0, {}),
        (1800.0, "of my own", "classic", 1620.0, {}),
    ],
)
def test_the_limit_and_what_a_consumer_says_follow_the_brokers_version(
    timeout_s: float | None, version: str, queue_type: str, limit_s: float | None, arguments: dict[str, int]
) -> None:
    timeout = AckTimeout(timeout_s, is_classic=queue_type == "classic")
    timeout.version = version
    assert timeout.limit_s == limit_s
    assert timeout.consume_arguments == arguments


@pytest.mark.parametrize(
    ("reason", "limit_s"),
    [
        (f"406 {LATE} on channel 1 timed out. Timeout value used: 1800000 ms. This timeout value can be", 1620.0),
        (f"406 {LATE} on channel 7 timed out. Timeout value used: 500 ms.", 0.45),
        ("406 PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q'", 90.0),
        ("the broker cancelled the consumer", 90.0),
        ("", 90.0),
    ],
)
def test_how_long_the_broker_waited_is_in_its_words(reason: str, limit_s: float) -> None:
    timeout = AckTimeout(100.0, is_classic=False)
    timeout.learn(reason)
    assert timeout.limit_s == limit_s


def test_that_a_queue_is_classic_is_learnt_from_what_the_broker_refuses() -> None:
    timeout = AckTimeout(100.0, is_classic=False)
    timeout.version = "4.3.6"
    assert timeout.consume_arguments
    timeout.learn("406 PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/'")
    assert (timeout.consume_arguments, timeout.limit_s) == ({}, None)
