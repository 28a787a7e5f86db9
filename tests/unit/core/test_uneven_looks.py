"""Looks that are not exactly a second apart, as no thread's are, show what even ones would."""

from __future__ import annotations

import pytest

from hermes_ray.core.arrivals import with_probe
from hermes_ray.core.flow import Look, finish_rate_hz, with_look
from hermes_ray.core.model import Probe, Totals
from hermes_ray.core.rate import Counted, arrival_rate_hz
from hermes_ray.core.service import Serving, with_totals
from tests.support.looks import idle, ready, see, watch


def test_a_look_that_is_a_little_early_is_kept() -> None:
    looks: tuple[Look, ...] = ()
    for n in range(8):
        looks = with_look(looks, Totals(), None, 0.9 * n, report_interval_s=1.0)
    assert [look.at_s for look in looks] == pytest.approx([0.9 * n for n in range(8)])


def test_ten_looks_of_a_little_less_than_a_second_are_a_window_of_ten() -> None:
    looks = (Look(-0.98, 0, 0.0), Look(0.0, 50, 0.0), *(Look(0.98 * n, 100, 0.0) for n in range(1, 11)))
    assert finish_rate_hz(looks) == pytest.approx(50 / 9.8)


def test_five_looks_of_a_little_less_than_a_second_are_a_window_of_five() -> None:
    points = [Counted(0.98 * n, count, 0) for n, count in enumerate((0, 4, 8, 8, 9, 10))]
    assert arrival_rate_hz(points) == pytest.approx(10 / 4.9)


def test_a_depth_of_a_little_more_than_a_second_ago_is_still_beside_what_workers_report() -> None:
    depth = ready(lambda at_s: 10.0 * at_s)
    late = watch(range(20), lambda at_s: depth(at_s - 1.2), idle)
    assert see(late, 19.0).growth_rate_hz == pytest.approx(10.0)


def test_probes_that_come_in_a_rush_are_as_few_as_those_of_each_second() -> None:
    probes: tuple[Probe, ...] = ()
    for n in range(100):
        probes = with_probe(probes, Probe(at_s=0.1 * n, ready_count=0), report_interval_s=1.0)
    assert len(probes) <= 6
    assert probes[-1].at_s == pytest.approx(9.9)


def test_a_third_of_a_minute_is_summed_though_its_looks_are_a_little_early() -> None:
    serving = Serving()
    for n in range(21):
        serving = with_totals(serving, Totals(finished_count=n, busy_s=0.1 * n), 0.99 * n, report_interval_s=1.0)
    assert serving.since_s == pytest.approx(19.8)
