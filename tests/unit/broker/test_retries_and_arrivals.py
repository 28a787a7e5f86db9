"""Messages that fail, wait and come back, counted as the scaler counts: they arrive once.

A queue, its wait queues and a worker are played in steps of 50 ms; depths and reports pass through what the scaler has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topic_depth import TopicDepth
from hermes_ray.core.arrivals import with_probe
from hermes_ray.core.estimate import History, observe, snapshot
from hermes_ray.core.model import Probe, WorkerCounts
from hermes_ray.scaler.roster import Roster
from tests.support.reports import report

T0, STEP_S = 1e6, 0.05
RATE_HZ, SERVICE_S = 20.0, 0.2
DELAYS_MS = {1: 1000, 2: 2000, 3: 4000}  # by attempt
WORKER = "t/aaaaaaaa"


class RetryWorld:
    """One topic at a steady rate; ``fails(attempt, second)`` says what becomes of a handler run."""

    def __init__(self, fails: Callable[[int, float], bool]) -> None:
        self._fails = fails
        self._depth = TopicDepth(TopicTopology(topic="t", queue="q", rungs_ms=tuple(DELAYS_MS.values())))
        self._roster = Roster()
        self._roster.started(WORKER, T0)
        self._probes: tuple[Probe, ...] = ()
        self._history = History()
        self._ready: list[int] = []
        self._running: list[tuple[float, int]] = []
        self._waiting: dict[int, list[tuple[float, int]]] = {}
        self._done: Counter[str] = Counter()
        self._told_retries = 0
        self.rates_hz: list[float] = []

    def play(self, until_s: float) -> None:
        for step in range(round(until_s / STEP_S)):
            second = step * STEP_S
            self._work(second)
            if step % 20 == 7:
                self._pass(second)
            if step % 20 == 12:
                self._report(second)
            if step % 20 == 16:
                self._tick(second)

    def _work(self, second: float) -> None:
        self._ready += [1] * (round(second / STEP_S) % round(1 / RATE_HZ / STEP_S) == 0)
        for delay_ms, waiting in self._waiting.items():
            self._ready += [attempt for due_s, attempt in waiting if due_s <= second]
            self._waiting[delay_ms] = [(due_s, attempt) for due_s, attempt in waiting if due_s > second]
        ended = [attempt for end_s, attempt in self._running if end_s <= second]
        self._running = [(end_s, attempt) for end_s, attempt in self._running if end_s > second]
        for attempt in ended:
            retries = attempt in DELAYS_MS and self._fails(attempt, second)
            self._done["retried" if retries else "acked"] += 1
            if retries:
                waiting = self._waiting.setdefault(DELAYS_MS[attempt], [])
                waiting.append((second + DELAYS_MS[attempt] / 1000, attempt + 1))
        self._running += [(second + SERVICE_S, attempt) for attempt in self._ready]
        self._ready = []

    def _pass(self, second: float) -> None:
        counts = {f"q.wait.{delay_ms}": len(waiting) for delay_ms, waiting in self._waiting.items()}
        for ask in self._depth.due(second):
            self._depth.answered(ask, counts.get(ask.queue, len(self._ready)), T0 + second, second)

    def _report(self, second: float) -> None:
        done = {"acked": self._done["acked"], "retried": self._done["retried"], "finished": self._done.total()}
        said = report(
            WORKER, round(second) + 1, held=len(self._running), wait_rungs_ms=tuple(sorted(self._waiting)), **done
        )
        self._roster.take(said, T0 + second)

    def _tick(self, second: float) -> None:
        """What the control loop does with reports and depths."""
        probe, now_s = self._depth.probe, T0 + second
        self._depth.waits_exist(self._roster.wait_rungs_ms("t"))
        retried = self._roster.counters("t").settlements.retried
        if retried > self._told_retries:
            self._told_retries = retried
            self._depth.retried(second)
        if probe is not None:
            self._probes = with_probe(self._probes, probe, report_interval_s=1.0)
        arrived = self._roster.arrived("t", self._probes, now_s)
        self._history = observe(self._history, probe, self._roster.totals("t"), now_s, arrived)
        seen = snapshot(self._history, "t", WorkerCounts(observed=1), now_s)
        if seen.arrival_rate_hz is not None:
            self.rates_hz.append(seen.arrival_rate_hz)


@pytest.mark.parametrize(
    "fails",
    [
        pytest.param(lambda _attempt, second: 40 <= second < 60, id="everything fails for 20 s"),
        pytest.param(lambda attempt, second: attempt == 1 and second > 30, id="every first attempt fails"),
        pytest.param(lambda attempt, second: second % 25 < 2, id="everything fails for a moment, again and again"),
        pytest.param(lambda attempt, second: attempt < 3 and int(second * 20) % 50 == 0, id="one fails now and then"),
    ],
)
def test_a_retried_message_is_not_counted_as_an_arrival(fails: Callable[[int, float], bool]) -> None:
    world = RetryWorld(fails)
    world.play(200.0)
    settled_in = world.rates_hz[10:]
    assert min(settled_in) > 0.85 * RATE_HZ
    assert max(settled_in) < 1.15 * RATE_HZ
