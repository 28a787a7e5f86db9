from __future__ import annotations

from typing import Any

import pytest

from hermes_ray.core.arrivals import Taken
from hermes_ray.core.model import WorkerCounts
from hermes_ray.scaler.lifecycle import Limits, team_of
from hermes_ray.scaler.roster import Departure, Roster
from hermes_ray.worker.report import UnknownReport
from tests.support.reports import histogram, report


def roster(*workers: str) -> Roster:
    made = Roster()
    for n, worker in enumerate(workers):
        made.started(worker, float(n))
    return made


def leaves(made: Roster, *gone: str, now_s: float = 100.0) -> list[Departure]:
    return made.sync([r.worker for r in made.all() if r.worker not in gone], now_s)


def counts(made: Roster, topic: str) -> WorkerCounts:
    limits = Limits(report_interval_s=1.0, silent_timeout_s=900.0, reachable_since_s=None)
    return team_of(made.of(topic), limits, 2.0).counts


WORK: dict[str, Any] = {
    "acked": 10,
    "dead_lettered_permanent": 2,
    "retried": 3,
    "finished": 15,
    "busy_s": 7.5,
    "service": histogram(0.5, 0.5),
    "wait": histogram(0.1),
}


def test_sums_run_over_all_workers_of_a_topic_and_no_other() -> None:
    made = roster("a/1", "a/2", "b.c/1")
    for worker in ("a/1", "a/2", "b.c/1"):
        made.take(report(worker, held=4, running=2, longest_running_s=9.0 if worker == "a/2" else 1.0, **WORK), 1.0)
    totals = made.totals("a")
    assert (totals.held_count, totals.running_count, totals.longest_running_s) == (8, 4, 9.0)
    assert (totals.settled_count, totals.finished_count, totals.busy_s) == (24, 30, 15.0)
    assert totals.service == histogram(0.5, 0.5, 0.5, 0.5)
    assert totals.wait == histogram(0.1, 0.1)
    assert (made.counters("a").settlements.retried, made.counters("a").settlements.dead_lettered) == (6, 4)
    assert made.totals("b.c").settled_count == 12


def test_a_lost_report_costs_nothing_as_the_next_one_says_it_all() -> None:
    every, some = roster("a/1"), roster("a/1")
    for seq in range(1, 6):
        said = report("a/1", seq, acked=seq * 10, busy_s=float(seq))
        every.take(said, seq)
        if seq in (1, 5):
            some.take(said, seq)
    assert every.totals("a") == some.totals("a")
    assert some.totals("a").settled_count == 50


def test_a_repeated_or_late_report_changes_nothing() -> None:
    made = roster("a/1")
    made.take(report("a/1", 1, acked=1), 1.0)
    made.take(report("a/1", 2, acked=5), 2.0)
    before = made.totals("a")
    made.take(report("a/1", 2, acked=5), 3.0)
    made.take(report("a/1", 1, acked=1), 4.0)
    assert made.totals("a") == before


def test_a_report_of_a_worker_that_is_gone_or_was_never_ours_changes_nothing() -> None:
    made = roster("a/1")
    made.take(report("a/1", 1, acked=5), 1.0)
    leaves(made, "a/1")
    made.take(report("a/1", 2, acked=9), 101.0)
    made.take(report("x/1", 1, acked=9), 101.0)
    assert made.totals("a").settled_count == 5
    assert made.all() == []


def test_what_a_worker_did_stays_counted_when_it_leaves_and_what_it_held_does_not() -> None:
    made = roster("a/1", "a/2")
    made.take(report("a/1", held=4, running=2, longest_running_s=3.0, **WORK), 1.0)
    made.take(report("a/2", held=1, acked=1), 1.0)
    leaves(made, "a/1")
    totals = made.totals("a")
    assert (totals.held_count, totals.running_count, totals.longest_running_s) == (1, 0, 0.0)
    assert (totals.settled_count, totals.finished_count, totals.busy_s) == (13, 15, 7.5)
    assert (totals.service, totals.wait) == (histogram(0.5, 0.5), histogram(0.1))
    assert (made.counters("a").settlements.retried, made.counters("a").settlements.dead_lettered) == (3, 2)


def test_an_adopted_worker_counts_from_its_first_report_on() -> None:
    made = roster()
    assert made.sync(["a/1"], 50.0) == []
    made.take(report("a/1", 700, held=3, **WORK), 51.0)
    totals = made.totals("a")
    assert (totals.settled_count, totals.finished_count, totals.busy_s, totals.held_count) == (0, 0, 0.0, 3)
    assert sum(totals.service) == sum(totals.wait) == 0
    more = WORK | {"acked": 14, "retried": 4, "finished": 20, "busy_s": 9.0, "service": histogram(0.5, 0.5, 2.0)}
    made.take(report("a/1", 701, **more), 52.0)
    assert (made.totals("a").settled_count, made.totals("a").finished_count, made.totals("a").busy_s) == (4, 5, 1.5)
    assert made.totals("a").service == histogram(2.0)
    assert (made.counters("a").settlements.retried, made.counters("a").settlements.dead_lettered) == (1, 0)
    leaves(made, "a/1")
    assert (made.totals("a").settled_count, made.totals("a").finished_count, made.totals("a").busy_s) == (4, 5, 1.5)
    assert (made.counters("a").settlements.retried, made.counters("a").settlements.dead_lettered) == (1, 0)


def test_sums_never_fall_while_workers_come_report_and_go() -> None:
    made, seen = roster(), [0]
    for n in range(1, 30):
        made.started(f"a/{n}", float(n))
        for seq in (1, 2):
            made.take(report(f"a/{n}", seq, acked=seq * n), float(n))
            seen.append(made.totals("a").settled_count)
        if n % 3 == 0:
            leaves(made, f"a/{n - 1}")
            seen.append(made.totals("a").settled_count)
    assert seen == sorted(seen)
    assert seen[-1] == sum(2 * n for n in range(1, 30))


def test_sums_mean_something_once_every_adopted_worker_has_reported_or_had_its_time() -> None:
    made = roster("a/1")
    assert made.is_complete("a", 0.0), "a worker we started has done nothing we miss"
    made.sync(["a/1", "a/2"], 10.0)
    assert not made.is_complete("a", 11.0)
    assert made.is_complete("b.c", 11.0)
    made.take(report("a/2"), 12.0)
    assert made.is_complete("a", 12.0)
    made.sync(["a/1", "a/2", "a/3"], 20.0)
    assert not made.is_complete("a", 24.0)
    assert made.is_complete("a", 25.5)


@pytest.mark.parametrize(
    ("phase", "asked", "expected"),
    [
        (None, False, WorkerCounts(starting=1)),
        ("connecting", False, WorkerCounts(starting=1)),
        ("consuming", False, WorkerCounts(observed=1)),
        ("draining", False, WorkerCounts(draining=1)),
        ("drained", False, WorkerCounts(draining=1)),
        (None, True, WorkerCounts(draining=1)),
        ("connecting", True, WorkerCounts(draining=1)),
        ("consuming", True, WorkerCounts(draining=1)),
        ("draining", True, WorkerCounts(draining=1)),
    ],
)
def test_every_worker_is_in_exactly_one_state(phase: str | None, asked: bool, expected: WorkerCounts) -> None:
    made = roster("a/1")
    if phase is not None:
        made.take(report("a/1", phase=phase), 1.0)
    if asked:
        made.all()[0].drain_asked_s = 2.0
    assert counts(made, "a") == expected


def test_states_of_many_add_up_to_the_workers_there_are() -> None:
    made = roster(*(f"a/{n}" for n in range(6)), "b.c/0")
    for n, phase in enumerate(("connecting", "consuming", "consuming", "draining", "drained")):
        made.take(report(f"a/{n}", phase=phase), 1.0)
    assert counts(made, "a") == WorkerCounts(observed=2, starting=2, draining=2)
    assert [record.worker for record in made.of("a")] == [f"a/{n}" for n in range(6)]


@pytest.mark.parametrize(
    ("said", "killed", "expected"),
    [
        (None, 0, False),
        ({"running": 3}, 3, False),
        ({"phase": "draining", "running": 2}, 2, True),
        ({"phase": "drained", "running": 2, "killed": 2}, 2, True),
        ({"phase": "drained", "running": 0, "killed": 1}, 1, True),
        ({"phase": "drained"}, 0, True),
    ],
)
def test_a_departure_says_whether_we_wanted_it_and_how_many_handlers_it_cut_short(
    said: dict[str, Any] | None, killed: int, expected: bool
) -> None:
    made = roster("a/1")
    if said is not None:
        made.take(report("a/1", **said), 1.0)
    (departure,) = leaves(made, "a/1")
    assert (departure.record.worker, departure.killed_count, departure.expected) == ("a/1", killed, expected)
    assert leaves(made) == [], "a departure is told once"


def test_a_worker_whose_drain_was_asked_for_departs_as_expected_even_before_it_says_so() -> None:
    made = roster("a/1")
    made.take(report("a/1", running=1), 1.0)
    made.all()[0].drain_asked_s = 2.0
    (departure,) = leaves(made, "a/1")
    assert departure.expected


def test_a_report_of_an_unknown_version_shows_that_the_worker_lives_and_no_more() -> None:
    made = roster("a/1")
    made.take(UnknownReport(worker="a/1", version=99), 5.0)
    record = made.all()[0]
    assert (record.reported_s, record.report, record.phase) == (5.0, None, "starting")
    assert made.totals("a").settled_count == 0


def test_what_a_departed_worker_held_is_held_no_more() -> None:
    """The broker has it ready again: counted as held too it would be two messages."""
    roster = Roster()
    for n, worker in enumerate(("t/0000000a", "t/0000000b")):
        roster.started(worker, 0.0)
        roster.take(report(worker, 1, held=5 + n, running=2), 1.0)
    roster.sync({"t/0000000a"}, 2.0)
    assert (roster.totals("t").held_count, roster.totals("t").running_count) == (5, 2)


def test_what_was_taken_is_between_the_last_three_reports() -> None:
    (record,) = (made := roster("a/1")).all()
    assert record.takings is None
    for seq, taken in enumerate((0, 20, 30, 35)):
        made.take(report("a/1", seq, received=taken, acked=taken), 1.0 + seq)
        if seq == 0:
            assert record.takings == Taken(0.0, 0.0, 1.0, 0.0)
    assert record.takings == Taken(3.0, 30.0, 4.0, 35.0, 2.0, 20.0)


def test_reports_that_waited_for_a_scaler_that_stood_still_are_of_no_known_time() -> None:
    """They come at one moment, and the next ones soon after: what was taken in 40 s is none of these few seconds."""
    (record,) = (made := roster("a/1")).all()
    for seq, at_s in enumerate((1.0, 21.0)):
        made.take(report("a/1", seq, acked=20 * seq), at_s, 20.0)
    made.was_away(45.0, 70.0)
    for seq in (2, 3):
        made.take(report("a/1", seq, acked=20 * seq), 70.0, 20.0)
    made.take(report("a/1", 4, acked=80), 81.0, 20.0)
    takings = record.takings
    assert takings is not None
    assert takings[:4] == (21.0, 20.0, 81.0, 80.0)
    made.take(report("a/1", 5, acked=100), 101.0, 20.0)
    assert record.takings == Taken(81.0, 80.0, 101.0, 100.0, 21.0, 20.0)


def test_a_scaler_that_stood_still_waits_for_reports_that_did_not_wait_for_it() -> None:
    made = roster("a/1")
    made.take(report("a/1", 1), 1.0, 20.0)
    made.was_away(30.0, 50.0, 20.0)
    made.take(report("a/1", 2), 50.0, 20.0)
    assert not made.is_complete("a", 51.0, 20.0), "of what time that was is not known"
    made.take(report("a/1", 3), 70.0, 20.0)
    assert made.is_complete("a", 70.0, 20.0)


def test_a_standstill_that_is_short_beside_the_time_between_reports_is_none() -> None:
    made = roster("a/1")
    made.take(report("a/1", 1), 1.0, 20.0)
    made.was_away(5.0, 12.0, 20.0)
    assert made.is_complete("a", 12.0, 20.0)
    made.was_away(5.5, 18.0, 20.0)
    assert not made.is_complete("a", 18.0, 20.0)


@pytest.mark.parametrize("every_s", [7, 15, 20, 37, 41])
def test_who_stands_still_time_after_time_looks_half_of_the_time(every_s: int) -> None:
    """A worker that hangs is heard of never, and the others are not at one time."""
    made, seq, looked = roster("a/1", "a/2", "a/hung"), 1, []
    for worker in ("a/1", "a/2", "a/hung"):
        made.take(report(worker, seq), 1.0, 20.0)
    for second in range(2, 1_000):
        if second % every_s == 0:
            made.was_away(6.0, float(second), 20.0)
        if second % 10 == 0:
            seq += 1
            made.take(report(f"a/{1 + second % 20 // 10}", seq), float(second), 20.0)
        looked.append(made.is_complete("a", float(second), 20.0))
    assert sum(looked) > 0.45 * len(looked)


def test_what_was_reported_to_the_scaler_before_is_waited_for_only_if_it_is_old() -> None:
    before = roster("a/1", "a/2")
    for worker in ("a/1", "a/2"):
        before.take(report(worker, 1), 100.0, 20.0)
    made = Roster({"a": before.counters("a")}, before.remembered(), 115.0, 10.0)
    assert made.is_complete("a", 115.0, 20.0)
    assert not made.is_complete("a", 115.0, 1.0), "15 of its intervals are more than may be lost"
    made = Roster({"a": before.counters("a")}, before.remembered(), 165.0, 60.0)
    assert not made.is_complete("a", 165.0, 20.0)
