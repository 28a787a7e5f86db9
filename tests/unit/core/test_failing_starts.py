"""Topics whose workers do not start: what they want stays wanted, and others have the room meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermes_ray.core.model import Capacity, Decision, Node, Reason, Snapshot, TopicParams, WorkerCounts
from hermes_ray.core.policy import PolicyState, TopicState, step

EIGHT = Capacity(nodes=(Node(node_id="n", available={"CPU": 8.0}),))
PARAMS = {
    "heavy": TopicParams(topic="heavy", policy="fixed", weight=10.0, workers_max=8, worker={"CPU": 1.0}),
    "light": TopicParams(topic="light", policy="fixed", workers_max=8, worker={"CPU": 1.0}),
}


class Play:
    """Second by second; ``decision`` is the last one of ``heavy``."""

    def __init__(self) -> None:
        self.state, self.now_s = PolicyState(), 0.0
        self.decision: Decision

    def go_on(self, seconds: int, startable: int | None, workers: WorkerCounts) -> tuple[int, Reason]:
        """For so many seconds ``heavy`` can use so many workers, and has these; its target and why."""
        limits = {} if startable is None else {"heavy": startable}
        for _ in range(seconds):
            self.now_s += 1.0
            seen = {"heavy": Snapshot(topic="heavy", at_s=self.now_s, workers=workers)}
            self.state, (self.decision, _light) = step(self.state, seen, EIGHT, PARAMS, self.now_s, startable=limits)
        return self.decision.target, self.decision.reason


def test_the_room_is_others_once_starts_have_failed_for_a_minute() -> None:
    play = Play()
    assert play.go_on(60, 1, WorkerCounts()) == (8, Reason.FIXED)
    assert play.go_on(2, 1, WorkerCounts()) == (1, Reason.STARTS_FAIL)
    assert (play.decision.wanted, play.state.target("light")) == (8, 7)


@pytest.mark.parametrize(
    "workers", [WorkerCounts(observed=3), WorkerCounts(starting=3), WorkerCounts(observed=1, starting=2)]
)
def test_for_a_minute_after_the_last_failure_there_are_as_many_as_live_also_on_their_way_back(
    workers: WorkerCounts,
) -> None:
    play = Play()
    play.go_on(62, 3, workers)
    assert play.go_on(55, None, workers) == (3, Reason.STARTS_FAIL)
    assert play.go_on(10, None, WorkerCounts(observed=3)) == (8, Reason.FIXED)


def test_whose_starts_failed_before_the_scaler_was_restarted_shows_one_that_works_first() -> None:
    play = Play()
    play.go_on(62, 1, WorkerCounts())
    assert play.go_on(300, None, WorkerCounts()) == (1, Reason.STARTS_FAIL)
    assert play.go_on(61, None, WorkerCounts(observed=1)) == (8, Reason.FIXED)


def test_what_nobody_wants_any_more_is_forgotten() -> None:
    past = PolicyState(topics={"heavy": TopicState(target=0, failing=(0.0, 100.0))})
    idle = replace(PARAMS["heavy"], policy="adaptive")
    seen = Snapshot(topic="heavy", at_s=101.0, ready_count=0, held_count=0, arrival_rate_hz=0.0, service_rate_hz=1.0)
    state, _ = step(past, {"heavy": seen}, EIGHT, {"heavy": idle}, 101.0)
    assert state.topics["heavy"].failing is None


@pytest.mark.parametrize("policy", ["threshold", "adaptive"])
def test_a_second_without_a_word_about_the_room_takes_nothing_from_what_was_wanted(policy: str) -> None:
    params = {"heavy": replace(PARAMS["heavy"], policy=policy), "light": PARAMS["light"]}
    state = PolicyState(topics={"heavy": TopicState(target=6, wanted=6)})
    for second in range(100):
        seen = {
            "heavy": Snapshot(topic="heavy", at_s=float(second), ready_count=500 if policy == "threshold" else None)
        }
        room = None if second == 80 else EIGHT
        state, (decision, _light) = step(state, seen, room, params, float(second), startable={"heavy": 1})
        assert second < 61 or decision.target == 1
    assert state.topics["heavy"].held >= 6
