"""The pure parts of the demo: its record, its account, its load, its charts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hermes_ray.cli.record import Mark, Record
from hermes_ray.cli.timeline import draw, spaced
from hermes_ray.cli.view import columns, line, thinned, view
from hermes_ray.demo.children import descendants_of
from hermes_ray.demo.summary import summarise, wait_text
from hermes_ray.demo.traffic import LOAD_S, LOADS, stepped_load

TOPICS = ("fast", "slow", "mixed")
LIMITS = dict.fromkeys(TOPICS, 7)


def state(*, depth: int | None = 0, held: int | None = 0, observed: int = 1, decided: float | None = None) -> Any:
    """A topic's part of what ``Deployment.status`` answers."""
    decision = {"at": decided, "from": 1, "to": 3, "reason": "demand", "text": "1 -> 3 workers: 40 waiting"}
    return {
        "depth": depth,
        "held": held,
        "retrying": 0,
        "arrival_rate_hz": 12.0,
        "service_rate_hz": None,
        "wait_p95_s": 0.5,
        "workers": {"observed": observed, "starting": 0, "draining": 0, "target": 3},
        "last_decision": None if decided is None else decision,
        "waits": {"p50_s": 0.1, "p95_s": 0.51234, "p99_s": None},
        "start_error": None,
        "depth_error": None,
        "retried": 2,
        "dead_lettered": 1,
    }


def a_record(**one: Any) -> Record:
    record = Record(TOPICS, zero_s=1_000.0)
    for second in range(60):
        record.add({"topics": {topic: state(**one) for topic in TOPICS}}, 1_000.0 + second)
    return record


def test_a_decision_is_counted_once_however_often_it_is_seen() -> None:
    record = a_record(decided=1_010.0)
    record.add({"topics": {"fast": state(decided=1_070.0)}}, 1_071.0)
    assert [mark.at_s for mark in record.marks["fast"]] == [10.0, 70.0]
    assert len(record.marks["slow"]) == 1


def test_a_record_knows_its_peak_and_its_last_moment() -> None:
    record = a_record(observed=2)
    record.add({"topics": {"fast": state(observed=6)}}, 1_061.0)
    record.add({"topics": {"fast": state(observed=1)}}, 1_062.0)
    assert record.peak_workers("fast") == 6
    assert (now := record.now("fast")) is not None
    assert now.at_s == 62.0


@pytest.mark.parametrize(
    ("depth", "held", "empty"), [(0, 0, True), (1, 0, False), (0, 1, False), (None, 0, False), (0, None, False)]
)
def test_empty_is_what_is_known_to_hold_nothing(depth: int | None, held: int | None, empty: bool) -> None:
    assert a_record(depth=depth, held=held).is_empty is empty


def test_nothing_seen_is_not_empty() -> None:
    assert not Record(TOPICS, zero_s=0.0).is_empty


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
    record = Record(TOPICS, zero_s=0.0)
    summary = summarise(record, published={"fast": {"a"}}, handled={}, ids={"slow": {"a"}}, dead={}, seconds=1.0)
    assert summary["lost"] == 1


def test_a_stepped_load_sends_each_step_at_its_rate() -> None:
    load = stepped_load([(10.0, 2.0), (5.0, 8.0)])
    assert (load.count, load.seconds) == (60, 15.0)
    assert [load.due_count(at_s) for at_s in (0.0, 5.0, 10.0, 12.5, 15.0)] == [0, 10, 20, 40, 60]


def test_every_topic_of_the_demo_is_under_load_for_ninety_seconds() -> None:
    assert {load.seconds for load in LOADS.values()} == {LOAD_S}


def test_a_chart_fills_its_highest_column_and_shows_the_newest_at_the_right() -> None:
    assert columns([0, 4, 8], width=3, rows=1, least_top=1.0) == [" ▄█"]
    assert columns([8], width=3, rows=2, least_top=1.0) == ["  █", "  █"]
    assert columns([1, 2, 3, 8], width=2, rows=1, least_top=1.0) == ["▃█"]


def test_a_chart_makes_little_look_little_but_not_nothing() -> None:
    assert columns([0, 0.01, None], width=3, rows=1, least_top=40.0) == [" ▁ "]


def test_thinning_keeps_the_last_moment_and_at_most_what_fits() -> None:
    moments = a_record().moments["fast"]
    few = thinned(moments, 25)
    assert len(few) <= 25
    assert few[-1] is moments[-1]
    assert thinned(moments, 100) == moments


def test_decisions_in_a_row_share_a_label_from_the_first_to_the_last() -> None:
    marks = [
        Mark(at_s=at_s, before=before, target=target, text="")
        for at_s, before, target in ((5.0, 1, 2), (6.0, 2, 4), (20.0, 4, 3), (30.0, 3, 4), (31.0, 4, 3))
    ]
    assert [(row.at_s, row.before, row.target) for row in spaced(marks, 3.0)] == [(5.0, 1, 4), (20.0, 4, 3)]


@pytest.mark.parametrize("record", [a_record(decided=1_010.0, depth=412), a_record(depth=None), Record(TOPICS, 0.0)])
def test_the_view_fits_a_terminal_whatever_is_known(record: Record) -> None:
    console = Console(width=100, height=30, record=True, force_terminal=True, color_system=None, file=None, quiet=False)
    with console.capture() as capture:
        console.print(view(record, LIMITS, phase="load", elapsed_s=59.0, link="http://127.0.0.1:8265", width=100))
    rows = capture.get().splitlines()
    assert len(rows) == 30
    assert all(len(row) <= 100 for row in rows)
    assert all(any(topic in row for row in rows) for topic in TOPICS)


def test_the_view_tells_queue_workers_and_the_last_decision() -> None:
    console = Console(width=100, height=30, force_terminal=True, color_system=None)
    record = a_record(decided=1_010.0, depth=412, held=8, observed=2)
    with console.capture() as capture:
        console.print(view(record, LIMITS, phase="load", elapsed_s=59.0, link="", width=100))
    shown = capture.get()
    for words in ("420", "8 in workers", "2 of 7, target 3", "49 s ago  1 -> 3 workers: 40 waiting", "wait p95 0.50 s"):
        assert words in shown
    assert line(record, "load", 59.0).startswith("   59 s  load: fast 420 queued, 2 workers, target 3; slow")


@pytest.mark.parametrize("record", [a_record(decided=1_010.0, depth=412), a_record(depth=None), Record(TOPICS, 0.0)])
def test_the_picture_is_drawn_whatever_is_known(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "timeline.png"
    draw(record, "title", "subtitle", path, ("slow", (10.0, 20.0)))
    assert path.read_bytes().startswith(b"\x89PNG")


def test_descendants_are_found_over_generations() -> None:
    assert descendants_of(1, {2: 1, 3: 2, 4: 3, 6: 5, 5: 9}) == {2, 3, 4}
    assert descendants_of(7, {2: 1}) == set()


def test_waits_are_told_in_the_unit_people_would_choose() -> None:
    assert [wait_text(seconds) for seconds in (0.012, 0.84, 2.374)] == ["12 ms", "840 ms", "2.37 s"]
