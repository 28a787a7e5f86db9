from __future__ import annotations

import pytest

from hermes_ray.core.arrivals import Taken, arrived, with_probe
from hermes_ray.core.model import Arrived, Probe


def _probes(*depths: tuple[float, int]) -> tuple[Probe, ...]:
    return tuple(Probe(at_s=at_s, ready_count=ready) for at_s, ready in depths)


def test_the_worked_number_of_the_docstring_holds() -> None:
    taken = Taken(10.0, 100.0, 30.0, 140.0)
    found = arrived(_probes((10.0, 0), (20.0, 7), (31.0, 2)), [taken], 31.0, report_interval_s=20.0)
    assert found == Arrived(at_s=20.0, count=127.0)


def test_outside_of_its_reports_a_worker_had_taken_what_the_nearest_says() -> None:
    taken = Taken(10.0, 100.0, 30.0, 140.0)
    assert [taken.at(at_s) for at_s in (5.0, 10.0, 30.0, 99.0)] == [100.0, 100.0, 140.0, 140.0]


def test_the_slowest_worker_decides_which_probe_is_covered_unless_it_is_silent() -> None:
    probes = _probes(*((float(at_s), 0) for at_s in range(30, 61)))
    fresh, slow, silent = Taken(39.0, 0, 59.0, 20.0), Taken(25.0, 0, 45.0, 20.0), Taken(0.0, 0, 0.5, 3.0)
    found = arrived(probes, [fresh, slow, silent], 61.0, report_interval_s=20.0)
    assert found == Arrived(at_s=45.0, count=6.0 + 20.0 + 3.0)


def test_without_a_probe_that_reports_cover_nothing_is_counted() -> None:
    assert arrived((), [], 5.0, report_interval_s=1.0) is None
    assert arrived(_probes((9.0, 5)), [Taken(0.0, 0, 8.0, 5.0)], 9.0, report_interval_s=1.0) is None


def test_a_probe_of_more_than_three_intervals_ago_counts_nothing() -> None:
    taken = Taken(10.0, 10.0, 60.0, 60.0)
    assert arrived(_probes((40.5, 3)), [taken], 100.0, report_interval_s=20.0) == Arrived(at_s=40.5, count=43.5)
    assert arrived(_probes((39.5, 3)), [taken], 100.0, report_interval_s=20.0) is None


def test_a_worker_that_left_counts_in_proportion_as_long_as_probes_reach_back() -> None:
    """Two workers take 1/s each; one leaves at 50 s: the count at 45 s must not hold what it took later."""
    stays, left = Taken(30.0, 30.0, 46.0, 46.0), Taken(31.0, 31.0, 50.0, 50.0)
    found = arrived(_probes((45.0, 3)), [stays], 51.0, report_interval_s=20.0, gone=[left], gone_count=7.0)
    assert found == Arrived(at_s=45.0, count=3 + 45.0 + 45.0 + 7.0)


@pytest.mark.parametrize(("interval_s", "most"), [(1.0, 5), (20.0, 35), (40.0, 35)])
def test_probes_reach_back_three_intervals_in_few_points_and_end_with_the_newest(interval_s: float, most: int) -> None:
    probes: tuple[Probe, ...] = ()
    for second in range(300):
        probes = with_probe(probes, Probe(at_s=float(second), ready_count=second), report_interval_s=interval_s)
        assert probes[-1].at_s == second
        assert len(probes) <= most
    assert probes[0].at_s <= 299 - 3 * interval_s


def test_a_probe_that_is_no_newer_changes_nothing() -> None:
    probes = _probes((1.0, 5), (2.0, 6))
    assert with_probe(probes, Probe(at_s=2.0, ready_count=9), report_interval_s=1.0) is probes


def test_between_three_reports_what_was_taken_is_in_proportion_to_each_pair() -> None:
    """What a worker took as it started is not counted beside a depth from before that."""
    taken = Taken(9.05, 40.0, 10.05, 44.0, 9.0, 0.0)
    assert [taken.at(at_s) for at_s in (8.0, 9.0, 9.05, 10.05)] == [0.0, 0.0, 40.0, 44.0]
    assert taken.at(9.025) == pytest.approx(20.0)
    other = Taken(8.9, 7.0, 9.0, 7.0)
    found = arrived(_probes((9.0, 100)), [taken, other], 10.1, report_interval_s=1.0)
    assert found == Arrived(at_s=9.0, count=107.0)
