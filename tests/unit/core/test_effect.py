from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hermes_ray.core.effect import Effect, judge
from hermes_ray.core.model import Decision, Reason, Snapshot, WorkerCounts

BUSY = Snapshot(
    topic="t",
    at_s=0.0,
    ready_count=100,
    service_rate_hz=2.5,
    service_p95_s=0.8,
    longest_running_s=0.3,
    finish_rate_hz=20.0,
    workers=WorkerCounts(observed=2),
)


class Watch:
    """Calls ``judge`` once a second with 4 slots a worker, starting with 2 workers of 10 runs/s each."""

    def __init__(self, effect: Effect | None = None, **seen: Any) -> None:
        self.effect = effect or Effect()
        self.now_s = 0.0
        self.target = 2
        self.seen = replace(BUSY, **seen)

    def decide(self, target: int) -> None:
        """One tick that moves the target."""
        self._tick(target)

    def go(self, seconds: int, workers: int | None = None, **seen: Any) -> None:
        """So many ticks in which nothing is decided."""
        if workers is not None:
            seen["workers"] = WorkerCounts(observed=workers, starting=max(0, self.target - workers))
        self.seen = replace(self.seen, **seen)
        for _ in range(seconds):
            self._tick(self.target)

    def scale_up(self, target: int, finishes_hz: float) -> None:
        """A scale-up that ends in so many runs per second, watched until it is judged."""
        self.decide(target)
        self.go(3)
        self.go(15, workers=target, finish_rate_hz=finishes_hz)

    def _tick(self, target: int) -> None:
        self.now_s += 1.0
        decision = Decision(
            topic="t",
            at_s=self.now_s,
            before=self.target,
            target=target,
            reason=Reason.DEMAND,
            limiters=(),
            snapshot=self.seen,
            text="",
        )
        self.target = target
        self.effect = judge(self.effect, decision, self.seen, self.now_s, concurrency=4)


@pytest.mark.parametrize(
    ("finishes_hz", "ratio"), [(60.0, 1.0), (50.0, 0.75), (20.0, 0.0), (12.0, -0.2), (0.0, -0.5), (500.0, 2.0)]
)
def test_the_gain_is_compared_with_what_was_expected(finishes_hz: float, ratio: float) -> None:
    watch = Watch()
    watch.scale_up(6, finishes_hz)
    assert watch.effect.ratio == pytest.approx(ratio)
    assert watch.effect.trial is None


def test_before_a_scale_up_could_be_judged_the_ratio_is_unknown() -> None:
    watch = Watch()
    watch.go(60)
    watch.decide(6)
    watch.go(11, workers=6)
    assert watch.effect.ratio is None


def test_the_last_scale_up_weighs_three_tenths() -> None:
    watch = Watch(Effect(ratio=0.5))
    watch.scale_up(6, 60.0)
    assert watch.effect.ratio == pytest.approx(0.65)


def test_steps_that_follow_each_other_are_judged_as_one() -> None:
    watch = Watch()
    watch.decide(3)
    watch.decide(6)
    watch.go(15, workers=6, finish_rate_hz=40.0)
    assert watch.effect.ratio == pytest.approx(0.5)


def test_a_first_worker_is_judged_by_what_its_slots_did_before() -> None:
    watch = Watch(workers=WorkerCounts(), finish_rate_hz=0.0, longest_running_s=0.0)
    watch.target = 0
    watch.scale_up(4, 40.0)
    assert watch.effect.ratio == pytest.approx(1.0)


def test_a_queue_that_runs_empty_says_nothing_about_the_workers() -> None:
    watch = Watch()
    watch.decide(6)
    watch.go(5, workers=6, finish_rate_hz=60.0)
    for _ in range(100):
        watch.go(3, ready_count=0)
        watch.go(8, ready_count=10)
    assert watch.effect == Effect()


def test_an_unknown_depth_is_waited_out() -> None:
    watch = Watch()
    watch.decide(6)
    watch.go(14, workers=6, finish_rate_hz=60.0, ready_count=None)
    assert watch.effect.ratio is None
    watch.go(15, ready_count=5)
    assert watch.effect.ratio == pytest.approx(1.0)


def test_workers_that_do_not_come_up_are_not_judged_and_given_up_on() -> None:
    watch = Watch()
    watch.decide(6)
    watch.go(290, workers=5)
    assert watch.effect.trial is not None
    watch.go(20)
    assert watch.effect == Effect()


def test_a_step_down_ends_the_trial() -> None:
    watch = Watch()
    watch.decide(6)
    watch.decide(4)
    watch.go(30, workers=4, finish_rate_hz=40.0)
    assert watch.effect == Effect()


def test_handlers_of_ten_seconds_get_time_to_end() -> None:
    watch = Watch(service_p95_s=10.0)
    watch.decide(6)
    watch.go(22, workers=6, finish_rate_hz=20.0)
    assert watch.effect.ratio is None
    watch.go(2, finish_rate_hz=60.0)
    assert watch.effect.ratio == pytest.approx(1.0)


@pytest.mark.parametrize(
    "seen", [{"service_rate_hz": None}, {"service_p95_s": 8.0, "longest_running_s": 8.0}, {"service_rate_hz": 0.01}]
)
def test_without_a_rate_that_runs_have_shown_nothing_is_expected(seen: dict[str, Any]) -> None:
    watch = Watch(**seen)
    watch.scale_up(6, 60.0)
    assert watch.effect == Effect()


def test_no_decision_changes_nothing() -> None:
    assert judge(Effect(ratio=0.5), None, BUSY, 1.0, concurrency=4) == Effect(ratio=0.5)
