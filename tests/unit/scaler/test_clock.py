"""The scaler's clock: steady whatever becomes of the wall clock, which people read all the same."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hermes_ray.scaler.clock import Anchor, SteadyClock, boot_id

NOW_S = 1_800_000_000.0


@dataclass
class Machine:
    """A machine whose wall clock may be set while its uptime goes on."""

    wall_s: float = NOW_S
    uptime_s: float = 500.0
    boot: str | None = "first"
    slept_s: float = 0.0

    def clock(self, anchor: Anchor | None = None) -> SteadyClock:
        return SteadyClock(
            anchor,
            wall=lambda: self.wall_s,
            uptime=lambda: self.uptime_s,
            since_boot=lambda: self.uptime_s + self.slept_s,
            boot=self.boot,
        )

    def sleeps(self, seconds: float) -> None:
        self.wall_s += seconds
        self.slept_s += seconds

    def passes(self, seconds: float) -> None:
        self.wall_s += seconds
        self.uptime_s += seconds


@pytest.mark.parametrize("corrected_s", [-7_200.0, 7_200.0, 30 * 86_400.0])
def test_a_wall_clock_that_is_corrected_moves_no_time_and_is_shown_at_once(corrected_s: float) -> None:
    machine = Machine()
    clock = machine.clock()
    before_s = clock()
    machine.wall_s += corrected_s
    machine.passes(1.0)
    assert clock() == before_s + 1.0
    assert clock() - clock.ahead_s() == machine.wall_s


def test_a_restart_on_the_same_boot_goes_on_by_uptime_whatever_the_wall_says() -> None:
    machine = Machine()
    clock = machine.clock()
    pinned_until_s = clock() + 3_600
    anchor = clock.anchor()
    machine.wall_s += 10_000_000.0
    machine.passes(3.0)
    restarted = machine.clock(anchor)
    assert restarted() == anchor.at_s + 3.0
    assert pinned_until_s - restarted.ahead_s() == pytest.approx(machine.wall_s + 3_597)


@pytest.mark.parametrize(("ahead_s", "expected_s"), [(-60.0, 60.0), (600.0, 0.0), (5e9, 0.0)])
def test_on_another_boot_the_wall_counts_but_never_behind_what_is_remembered(ahead_s: float, expected_s: float) -> None:
    anchor = Anchor(at_s=NOW_S + ahead_s, boot_id="another", uptime_s=9e9)
    clock = Machine().clock(anchor)
    assert clock() == anchor.at_s + expected_s
    assert clock() - clock.ahead_s() == NOW_S


@pytest.mark.parametrize("was_off_s", [-3_600.0, 0.0, 86_400.0])
@pytest.mark.parametrize("away_s", [20.0, 3_600.0])
def test_on_another_machine_as_much_has_passed_as_the_wall_went_on_however_wrong_it_once_was(
    was_off_s: float, away_s: float
) -> None:
    machine = Machine(wall_s=NOW_S + was_off_s)
    clock = machine.clock()
    machine.wall_s = NOW_S
    machine.passes(100.0)
    anchor = clock.anchor()
    machine.passes(away_s)
    machine.boot, machine.uptime_s = "another", 9_000.0
    assert machine.clock(anchor)() == pytest.approx(anchor.at_s + away_s)


def test_a_sleep_of_the_machine_is_no_time_but_is_told() -> None:
    machine = Machine()
    clock = machine.clock()
    before_s = clock()
    machine.sleeps(3_600.0)
    machine.passes(1.0)
    assert clock() == before_s + 1.0
    assert clock.slept_s() == 3_600.0
    assert clock() - clock.ahead_s() == machine.wall_s


def test_without_an_anchor_it_begins_as_unix_time() -> None:
    assert Machine(boot=None).clock()() == NOW_S


def test_this_boot_has_the_same_name_each_time() -> None:
    assert boot_id() == boot_id()
