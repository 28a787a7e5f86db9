from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_ray.cli.load import SHAPES, Load, shaped_load, trace_load
from hermes_ray.errors import UserMistake

SHAPE = st.sampled_from(SHAPES)
RATE_HZ, SECONDS = st.floats(0.01, 10_000), st.floats(0.01, 10_000)


@given(SHAPE, RATE_HZ, SECONDS)
def test_every_shape_sends_rate_times_seconds_in_all(shape: str, rate_hz: float, seconds: float) -> None:
    load = shaped_load(shape, rate_hz, seconds)
    assert load.seconds == pytest.approx(seconds)
    assert load.total == pytest.approx(rate_hz * seconds)
    assert abs(load.count - rate_hz * seconds) <= 0.5 + 1e-6 * rate_hz * seconds
    assert load.due_count(load.seconds) == load.due_count(math.inf) == load.count


@given(SHAPE, RATE_HZ, SECONDS, st.lists(st.floats(0, 1.2), min_size=2, max_size=20))
def test_what_is_due_starts_at_nothing_never_falls_and_never_exceeds_the_total(
    shape: str, rate_hz: float, seconds: float, parts: list[float]
) -> None:
    load = shaped_load(shape, rate_hz, seconds)
    due = [load.due_count(part * seconds) for part in sorted(parts)]
    assert load.due_count(0.0) == 0
    assert due == sorted(due)
    assert all(0 <= count <= load.count for count in due)


def rate_hz(load: Load, from_s: float, to_s: float) -> float:
    return (load.due_count(to_s) - load.due_count(from_s)) / (to_s - from_s)


def test_constant_sends_the_rate_from_beginning_to_end() -> None:
    load = shaped_load("constant", 10.0, 100.0)
    assert load.due_count(0.25) == 2, "the worked example"
    assert [rate_hz(load, at_s, at_s + 10) for at_s in range(0, 100, 10)] == [10.0] * 10


def test_a_burst_is_five_times_the_quiet_rate_for_a_fifth_of_the_time() -> None:
    load = shaped_load("burst", 180.0, 100.0)
    assert rate_hz(load, 0, 40) == pytest.approx(100, abs=1)
    assert rate_hz(load, 40, 60) == pytest.approx(500, abs=1)
    assert rate_hz(load, 60, 100) == pytest.approx(100, abs=1)


def test_a_ramp_goes_from_nothing_to_twice_the_mean() -> None:
    load = shaped_load("ramp", 100.0, 100.0)
    assert rate_hz(load, 0, 1) < 3
    assert rate_hz(load, 49, 51) == pytest.approx(100, abs=2)
    assert rate_hz(load, 99, 100) == pytest.approx(200, abs=2)


def test_a_sine_swings_twice_by_four_fifths() -> None:
    load = shaped_load("sine", 100.0, 100.0)
    rates_hz = [rate_hz(load, at_s, at_s + 1) for at_s in range(100)]
    assert max(rates_hz) == pytest.approx(180, abs=3)
    assert min(rates_hz) == pytest.approx(20, abs=3)
    assert [n for n in range(1, 99) if rates_hz[n - 1] < 150 <= rates_hz[n]] == pytest.approx([5, 55], abs=3)


ROWS = st.lists(st.tuples(st.floats(0.001, 100), st.floats(0, 1000)), min_size=1, max_size=20)


@given(ROWS, st.booleans(), st.lists(st.floats(0, 1.2), max_size=10))
def test_a_trace_sends_each_count_by_its_time(
    rows: list[tuple[float, float]], titled: bool, parts: list[float]
) -> None:
    at_s, arrived, lines, expected = 0.0, 0.0, ["seconds,arrivals"] if titled else [], list[tuple[float, float]]()
    for step_s, arrivals in rows:
        at_s, arrived = at_s + step_s, arrived + arrivals
        lines.append(f"{at_s!r},{arrivals!r}\n")
        expected.append((at_s, arrived))
    load = trace_load(lines, "x.csv")
    assert (load.seconds, load.count) == (at_s, round(arrived))
    for when_s, count in expected[:-1]:
        assert load.due_count(when_s) == pytest.approx(count, abs=1)
    due = [load.due_count(part * at_s) for part in sorted(parts)]
    assert due == sorted(due)


def test_a_row_at_zero_is_due_at_once() -> None:
    load = trace_load(["0,5", "10,5"], "x.csv")
    assert [load.due_count(at_s) for at_s in (0.001, 5.0, 10.0)] == [5, 7, 10]


def test_blank_lines_spaces_and_a_title_are_passed_over() -> None:
    assert trace_load(["seconds,arrivals", "", " 1 , 3 ", "\n", "2,0", "3,4"], "x.csv").count == 7


def test_a_trace_that_is_quiet_for_a_while_sends_nothing_then() -> None:
    load = trace_load(["1,10", "9,0", "10,10"], "x.csv")
    assert load.due_count(1.0) == load.due_count(5.0) == load.due_count(9.0) == 10


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "trace=x.csv holds no rows: write lines of seconds,arrivals"),
        (["seconds,arrivals"], "trace=x.csv holds no rows"),
        (["1,2", "2"], "trace=x.csv line 2 is '2': write seconds,arrivals, both >= 0"),
        (["1,2,3"], "trace=x.csv line 1 is '1,2,3': write seconds,arrivals"),
        (["1,2", "seconds,arrivals"], "trace=x.csv line 2 is 'seconds,arrivals': write"),
        (["1,many"], "trace=x.csv line 1 is '1,many': write"),
        (["1,nan"], "trace=x.csv line 1 is '1,nan': write"),
        (["1,inf"], "trace=x.csv line 1 is '1,inf': write"),
        (["1,"], "trace=x.csv line 1 is '1,': write"),
        (["1;2"], "trace=x.csv holds no rows"),
        (["1,-2"], "trace=x.csv line 1 is '1,-2': seconds must rise and arrivals be >= 0"),
        (["-1,2"], "trace=x.csv line 1 is '-1,2': seconds must rise"),
        (["2,1", "1,1"], "trace=x.csv line 2 is '1,1': seconds must rise"),
        (["2,1", "2,1"], "trace=x.csv line 2 is '2,1': seconds must rise"),
        (["0,1", "0,1"], "trace=x.csv line 2 is '0,1': seconds must rise"),
    ],
)
def test_a_trace_that_cannot_be_is_refused_with_its_line(rows: list[str], sentence: str) -> None:
    with pytest.raises(UserMistake) as caught:
        trace_load(rows, "x.csv")
    assert str(caught.value).startswith(sentence)
