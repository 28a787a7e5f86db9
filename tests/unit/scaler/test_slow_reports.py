"""Reports of 20 s: what the scaler makes of them while workers come and go and it is away itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hermes_ray.core.arrivals import with_probe
from hermes_ray.core.estimate import History, observe, snapshot
from hermes_ray.core.model import Probe, WorkerCounts
from hermes_ray.scaler.roster import Roster
from tests.support.reports import report

INTERVAL_S = 20.0


class SlowWorld:
    """Messages come evenly and are taken at once by whoever consumes, in turns; each reports every 20 s."""

    def __init__(self, rate_hz: Callable[[int], float], worker_count: int) -> None:
        self._rate_hz = rate_hz
        self._workers: dict[str, int] = {}
        self._acked: dict[str, int] = {}
        self._probes: tuple[Probe, ...] = ()
        self._owed, self._turn, self._named = 0.0, 0, 0
        self.roster, self.history = Roster(), History()
        self.now_s = 0
        self.is_away = False
        self.rates_hz: dict[int, float | None] = {}
        for _ in range(worker_count):
            self.comes()

    def comes(self) -> None:
        self._named += 1
        name = f"t/{self._named:08x}"
        self.roster.started(name, float(self.now_s))
        self._workers[name], self._acked[name] = self.now_s + 7 * self._named % 20, 0
        self._says(name)

    def leaves(self) -> None:
        """As it drains: its last report is of its end."""
        name = next(iter(self._workers))
        self._says(name, "drained")
        del self._workers[name]
        self.roster.sync(list(self._workers), float(self.now_s))

    def play(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self._work()
            for name, first_s in self._workers.items():
                if (self.now_s - first_s) % INTERVAL_S == 0:
                    self._says(name)
            if not self.is_away:
                self._look()

    def comes_back(self) -> None:
        """The next scaler knows what the one before wrote down, its probes are gone."""
        counters, known = {"t": self.roster.counters("t")}, self.roster.remembered()
        self.roster, self._probes, self.is_away = Roster(counters, known, float(self.now_s)), (), False

    def _work(self) -> None:
        self._owed += self._rate_hz(self.now_s)
        names = list(self._workers)
        while self._owed >= 1.0 - 1e-9:
            self._owed -= 1.0
            self._turn += 1
            self._acked[names[self._turn % len(names)]] += 1

    def _says(self, name: str, phase: str = "consuming") -> None:
        acked = self._acked[name]
        if not self.is_away:
            said = report(name, self.now_s + 1, phase=phase, acked=acked, finished=acked, busy_s=0.1 * acked)
            self.roster.take(said, float(self.now_s), INTERVAL_S)

    def _look(self) -> None:
        now_s, probe = float(self.now_s), Probe(at_s=float(self.now_s), ready_count=0)
        self._probes = with_probe(self._probes, probe, report_interval_s=INTERVAL_S)
        if self.roster.is_complete("t", now_s, INTERVAL_S):
            counted = self.roster.arrived("t", self._probes, now_s, INTERVAL_S)
            self.history = observe(
                self.history,
                probe,
                self.roster.totals("t"),
                now_s,
                counted,
                report_interval_s=INTERVAL_S,
                is_interpolated=True,
            )
        seen = snapshot(self.history, "t", WorkerCounts(), now_s, report_interval_s=INTERVAL_S)
        self.rates_hz[self.now_s] = seen.arrival_rate_hz

    def since(self, at_s: int) -> list[float]:
        return [rate_hz for second, rate_hz in self.rates_hz.items() if second >= at_s and rate_hz is not None]


@pytest.mark.parametrize("rate_hz", [1.0, 12.0, 300.0])
@pytest.mark.parametrize("worker_count", [1, 7])
def test_even_arrivals_are_estimated_within_ten_per_cent(rate_hz: float, worker_count: int) -> None:
    world = SlowWorld(lambda _: rate_hz, worker_count)
    world.play(400)
    assert len(world.since(60)) == 341
    assert world.since(60) == pytest.approx([rate_hz] * 341, rel=0.1)


@pytest.mark.parametrize("rate_hz", [1.0, 12.0, 300.0])
def test_workers_that_come_and_go_change_no_rate(rate_hz: float) -> None:
    world = SlowWorld(lambda _: rate_hz, 6)
    world.play(100)
    for n in range(30):
        (world.leaves if n % 3 == 2 else world.comes)()
        world.play(9)
        if n % 2:
            world.leaves()
            world.comes()
    assert world.since(60) == pytest.approx([rate_hz] * len(world.since(60)), rel=0.1)
    assert len(world.since(60)) > 300


@pytest.mark.parametrize("rate_hz", [1.0, 12.0, 300.0])
def test_a_scaler_that_was_away_for_thirty_seconds_sees_the_same_rate(rate_hz: float) -> None:
    world = SlowWorld(lambda _: rate_hz, 7)
    world.play(203)
    world.is_away = True
    world.play(30)
    world.comes_back()
    world.play(200)
    assert world.since(233) == pytest.approx([rate_hz] * len(world.since(233)), rel=0.1)
    assert len(world.since(253)) == 181


@pytest.mark.parametrize("rate_hz", [4.0, 40.0, 400.0])
@pytest.mark.parametrize("at_s", [200, 207, 213])
@pytest.mark.parametrize("worker_count", [1, 7])
def test_a_doubled_rate_is_seen_within_two_and_a_half_intervals(rate_hz: float, at_s: int, worker_count: int) -> None:
    world = SlowWorld(lambda second: rate_hz * (1 + (second > at_s)), worker_count)
    world.play(400)
    assert min(world.since(at_s + 50)) >= 1.5 * rate_hz
    assert world.since(at_s + 70) == pytest.approx([2 * rate_hz] * (400 - at_s - 69), rel=0.15)
