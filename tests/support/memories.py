"""Memories of a scaler, made by hand with something in every field."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hermes_ray.core.demand import Checks
from hermes_ray.core.effect import Effect, Trial
from hermes_ray.core.estimate import History, Learnt, thinned
from hermes_ray.core.model import Override, Reason, Totals
from hermes_ray.core.policy import PolicyState, TopicState
from hermes_ray.core.stabilise import Window
from hermes_ray.deploy.plan import Owner
from hermes_ray.scaler.codec import from_plain, to_plain
from hermes_ray.scaler.memory import Memory, TopicMemory
from hermes_ray.scaler.roster import Roster
from tests.support.figures import COUNTERS
from tests.support.looks import durations, ready, watch
from tests.support.reports import report

OWNER = Owner(key="one", label="hermes serve, pid 7 on here", stays=True)
PIN = Override(paused=True, pinned_count=3, pinned_until_s=2_000_000.5)
PRIOR = Learnt(service_rate_hz=2.5, service_p95_s=0.75)


def working(at_s: float) -> Totals:
    """2/s of half a second each."""
    finished = int(2 * at_s)
    return Totals(
        held_count=4,
        running_count=3,
        longest_running_s=0.25,
        settled_count=finished,
        finished_count=finished,
        busy_s=0.5 * finished,
        service=durations(*[0.5] * finished),
        wait=durations(*[0.1] * finished),
    )


def history(seconds: int = 90) -> History:
    """What is remembered of a topic that was watched for so long."""
    return thinned(watch(range(seconds), ready(lambda at_s: at_s), working, History(prior=PRIOR)))


def topic_memory(**changed: Any) -> TopicMemory:
    made = TopicMemory(
        history=history(),
        effect=Effect(
            ratio=0.75, trial=Trial(begun_s=5.0, workers=2, worker_rate_hz=4.5, target=6, settled_since_s=9.5)
        ),
        override=PIN,
        retired=COUNTERS,
        probe_failures=7,
        start_failures=8,
        deaths=9,
        decisions={str(Reason.DEMAND): 3, str(Reason.CAPACITY): 1},
        ups=3,
        downs=1,
        recent_decisions=(
            {"topic": "light", "at": 5.5, "from": 1, "to": 2, "limiters": [], "text": "1 -> 2 workers: a"},
        ),
    )
    return replace(made, **changed)


def filled(**changed: Any) -> Memory:
    """A memory of two topics and two workers."""
    roster = Roster()
    roster.sync(["heavy/0a"], 1.0)
    roster.started("light/0b", 2.0)
    roster.take(report("heavy/0a", 5, acked=9, service=durations(0.5), lost_reason="it was away"), 3.0)
    state = TopicState(
        target=4,
        beneath=2,
        window=Window(since_s=1.5, peaks=((2.5, 6), (3.5, 4))),
        checks=Checks(checked_at_s=1.0, acted_at_s=0.5, above_count=2, below_count=1),
    )
    made = Memory(
        generation=7,
        cluster_id="this one",
        saved_s=99.5,
        owner=OWNER,
        stop_by_s=120.25,
        policy=PolicyState(topics={"heavy": state, "light": TopicState(target=1)}),
        topics={"heavy": topic_memory(), "light": TopicMemory()},
        workers=tuple(roster.remembered()),
    )
    return replace(made, **changed)


def read_back(memory: Memory) -> Memory:
    """The same after a trip through a file."""
    return from_plain(Memory, json.loads(json.dumps(to_plain(memory))))
