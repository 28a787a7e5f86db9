"""Memories of a scaler, made by hand with something in every field."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from hermes_ray.core.demand import Checks
from hermes_ray.core.effect import Effect, Trial
from hermes_ray.core.estimate import History, Learnt, elsewhere
from hermes_ray.core.model import Override, Totals
from hermes_ray.core.policy import TopicState
from hermes_ray.core.stabilise import Window
from hermes_ray.scaler.clock import Anchor
from hermes_ray.scaler.memory import Changes, Header, Memory, TopicLearnt, TopicMemory
from hermes_ray.scaler.plan import Owner
from hermes_ray.scaler.roster import Roster
from hermes_ray.telemetry.figures import PastDecision, TopicCounts
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
    return watch(range(seconds), ready(lambda at_s: at_s), working, elsewhere(PRIOR))


def topic_memory(**changed: Any) -> TopicMemory:
    made = TopicMemory(
        override=PIN,
        counters=COUNTERS,
        counts=TopicCounts(
            probe_failures=7, start_failures=8, deaths=9, ups=3, downs=1, decisions={"demand": 3, "capacity": 1}
        ),
        recent_decisions=(
            PastDecision(
                at_s=5.5, before=1, target=2, reason="demand", limiters=(("workers_max", 3, 2),), text="1 -> 2 workers"
            ),
        ),
        wait_rungs_ms=(1000, 1414),
    )
    return structs.replace(made, **changed)


def topic_learnt(**changed: Any) -> TopicLearnt:
    made = TopicLearnt(
        history=history(),
        effect=Effect(
            ratio=0.75, trial=Trial(begun_s=5.0, workers=2, worker_rate_hz=4.5, target=6, settled_since_s=9.5)
        ),
        policy=TopicState(
            target=4,
            beneath=2,
            window=Window(since_s=1.5, peaks=((2.5, 6), (3.5, 4))),
            checks=Checks(checked_at_s=1.0, acted_at_s=0.5, above_count=2, below_count=1),
        ),
    )
    return structs.replace(made, **changed)


def header(**changed: Any) -> Header:
    made = Header(
        generation=7,
        cluster_id="this one",
        anchor=Anchor(at_s=99.5, boot_id="boot", uptime_s=12.25),
        owner=OWNER,
        stop_by_s=120.25,
    )
    return structs.replace(made, **changed)


def filled(**changed: Any) -> Memory:
    """A memory of two topics and two workers."""
    roster = Roster()
    roster.sync(["heavy/0a"], 1.0)
    roster.started("light/0b", 2.0)
    roster.take(report("heavy/0a", 5, acked=9, service=durations(0.5), lost_reason="it was away"), 3.0)
    made = Memory(
        header=header(),
        topics={"heavy": topic_memory(), "light": TopicMemory()},
        learnt={"heavy": topic_learnt(), "light": TopicLearnt()},
        workers={memory.worker: memory for memory in roster.remembered()},
    )
    return structs.replace(made, **changed)


def whole(memory: Memory) -> Changes:
    """Everything, as it is written."""
    return Changes(
        header=memory.header,
        is_whole=True,
        topics=dict(memory.topics),
        learnt=dict(memory.learnt),
        workers=list(memory.workers.values()),
    )
