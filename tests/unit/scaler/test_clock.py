"""The scaler's clock: steady whatever becomes of the wall clock, which people read all the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from hermes_ray.scaler import clock as module
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


@pytest.mark.parametrize(("boot", "uptime_s"), [(None, 9_000.0), ("first", 20.0)])
def test_a_boot_without_a_name_or_of_less_uptime_is_another_one(boot: str | None, uptime_s: float) -> None:
    machine = Machine(boot=boot)
    anchor = machine.clock().anchor()
    machine.passes(20.0)
    machine.uptime_s = uptime_s
    assert machine.clock(anchor)() == anchor.at_s + 20.0


def test_a_moment_that_is_told_twice_is_the_same_though_the_two_clocks_drift() -> None:
    machine = Machine()
    clock = machine.clock()
    shown_s = 1_000.0 - clock.ahead_s()
    machine.passes(1.0)
    machine.wall_s += 0.4
    assert 1_000.0 - clock.ahead_s() == shown_s
    machine.wall_s += 0.2
    assert 1_000.0 - clock.ahead_s() == pytest.approx(shown_s + 0.6)


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


def test_this_boot_has_the_same_name_each_time_and_none_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert boot_id() == boot_id()
    name = tmp_path / "boot_id"
    monkeypatch.setattr(module, "BOOT_ID", name)
    assert boot_id() is None
    name.write_text("\n")
    assert boot_id() is None
    name.write_text("3f2a-91bc\n")
    assert boot_id() == "3f2a-91bc"
