from __future__ import annotations

import pytest

from hermes_ray.cli.record import Recording, thinned
from tests.support.statuses import TOPICS, a_record, state, status_of


def test_a_decision_is_counted_once_however_often_it_is_seen() -> None:
    record = a_record(decided=1_010.0)
    record.add(status_of({"fast": state(decided=1_070.0)}), 1_071.0)
    assert [mark.at_s for mark in record.marks["fast"]] == [10.0, 70.0]
    assert len(record.marks["slow"]) == 1


def test_a_record_knows_its_peak_and_its_last_moment() -> None:
    record = a_record(observed=2)
    record.add(status_of({"fast": state(observed=6)}), 1_061.0)
    record.add(status_of({"fast": state(observed=1)}), 1_062.0)
    assert record.peak_workers("fast") == 6
    assert (now := record.now("fast")) is not None
    assert now.at_s == 62.0


@pytest.mark.parametrize(
    ("depth", "held", "empty"), [(0, 0, True), (1, 0, False), (0, 1, False), (None, 0, False), (0, None, False)]
)
def test_empty_is_what_is_known_to_hold_nothing(depth: int | None, held: int | None, empty: bool) -> None:
    assert a_record(depth=depth, held=held).is_empty is empty


def test_nothing_seen_is_not_empty() -> None:
    assert not Recording(TOPICS, zero_s=0.0).is_empty


def test_topics_may_come_and_go() -> None:
    record = Recording()
    record.add(status_of({"old": state(), "kept": state()}), 1.0)
    record.add(status_of({"kept": state(), "new": state()}), 2.0)
    assert list(record.states) == ["kept", "new"]
    assert [len(record.moments[topic]) for topic in ("old", "kept", "new")] == [1, 2, 1]


def test_a_record_that_goes_on_for_days_keeps_what_is_drawn() -> None:
    record = Recording(kept_count=10)
    for second in range(1_000):
        record.add(status_of({"orders": state(decided=float(second))}), float(second))
    assert 10 <= len(record.moments["orders"]) < 20
    assert 10 <= len(record.marks["orders"]) < 20
    assert record.moments["orders"][-1].at_s == 999.0


def test_an_apply_a_restart_and_a_silence_are_news_for_a_while() -> None:
    record = Recording()
    assert record.news(0.0, 60.0) is None
    record.add(status_of({}), 1_000.0)
    assert record.news(1_001.0, 60.0) is None
    record.add(status_of({}, started_at=1_001.5), 1_002.0)
    assert record.news(1_003.0, 60.0) == "the scaler was restarted 1 s ago"
    record.add(status_of({}, started_at=1_010.5, generation=8), 1_011.0)
    assert record.news(1_014.0, 60.0) == "a configuration was applied 3 s ago"
    assert record.news(1_020.0, 60.0) == (
        "no answer for 9 s: the scaler restarts, or an apply replaces it; workers go on"
    )
    record.add(status_of({}, started_at=1_010.5, generation=8), 1_021.0)
    assert record.news(1_022.0, 60.0) == "after 10 s of silence the scaler answered again 1 s ago"
    record.add(status_of({}, started_at=1_010.5, generation=8), 1_080.0)
    record.add(status_of({}, started_at=1_010.5, generation=8), 1_141.0)
    record.add(status_of({}, started_at=1_010.5, generation=8), 1_144.0)
    assert record.news(1_144.0, 2.0) is None


def test_a_scaler_that_does_not_tell_when_it_started_is_no_news() -> None:
    record = Recording()
    for second in range(3):
        status = status_of({})
        del status["started_at"]
        record.add(status, float(second))
    assert record.news(3.0, 60.0) is None


def test_thinning_keeps_the_last_moment_and_at_most_what_fits() -> None:
    moments = a_record().moments["fast"]
    few = thinned(moments, 25)
    assert [moment.at_s for moment in few] == [*map(float, range(2, 60, 3))]
    assert few[-1] is moments[-1]
    assert thinned(moments, 100) == moments
    assert thinned([], 10) == []


def test_a_chart_does_not_flicker_as_time_goes_on() -> None:
    moments = a_record().moments["fast"]
    for end in range(52, 60):
        before, after = thinned(moments[:end], 25), thinned(moments[: end + 1], 25)
        assert {moment.at_s for moment in before[:-1]} <= {moment.at_s for moment in after}
