"""The pure parts of the demo: its account, its load, its children."""

from __future__ import annotations

from hermes_ray.cli.record import Recording
from hermes_ray.demo.children import members_of
from hermes_ray.demo.summary import summarise, wait_text
from hermes_ray.demo.traffic import LOAD_S, LOADS, stepped_load
from tests.support.statuses import TOPICS, a_record


def test_the_account_finds_what_is_lost_and_what_was_handled_twice() -> None:
    ids = [f"m{n}" for n in range(10)]
    summary = summarise(
        a_record(decided=1_010.0, observed=4),
        published={"fast": set(ids), "slow": {"s"}},
        handled={"fast": 9, "slow": 1},
        ids={"fast": set(ids[:8]), "slow": {"s"}},
        dead={"fast": {"m8"}},
        seconds=91.26,
    )
    topics = summary.pop("topics")
    assert summary == {
        "published": 11,
        "handled": 10,
        "distinct": 9,
        "lost": 1,
        "duplicated": 1,
        "retried": 6,
        "dead_lettered": 1,
        "seconds": 91.3,
    }
    waits = {"wait_p50_s": 0.1, "wait_p95_s": 0.512, "wait_p99_s": None}
    assert topics["fast"] == {**waits, "peak_workers": 4, "decisions": 1}


def test_a_message_of_another_topic_does_not_hide_a_lost_one() -> None:
    record = Recording(TOPICS, zero_s=0.0)
    summary = summarise(record, published={"fast": {"a"}}, handled={}, ids={"slow": {"a"}}, dead={}, seconds=1.0)
    assert summary["lost"] == 1


def test_a_stepped_load_sends_each_step_at_its_rate() -> None:
    load = stepped_load([(10.0, 2.0), (5.0, 8.0)])
    assert (load.count, load.seconds) == (60, 15.0)
    assert [load.due_count(at_s) for at_s in (0.0, 5.0, 10.0, 12.5, 15.0)] == [0, 10, 20, 40, 60]


def test_every_topic_of_the_demo_is_under_load_for_ninety_seconds() -> None:
    assert {load.seconds for load in LOADS.values()} == {LOAD_S}


def test_the_members_of_a_session_are_found_whoever_their_parent_is() -> None:
    assert members_of(1, {1: 1, 2: 1, 3: 1, 5: 5}) == {1, 2, 3}
    assert members_of(7, {2: 1}) == set()


def test_waits_are_told_in_the_unit_people_would_choose() -> None:
    assert [wait_text(seconds) for seconds in (0.012, 0.84, 2.374)] == ["12 ms", "840 ms", "2.37 s"]
