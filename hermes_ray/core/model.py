"""The facts the core passes around: what was measured, what is wanted, what was decided.

Units are in the names. Unknown is ``None``, never 0, NaN or infinity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hermes_ray.core.resources import Resources

__all__ = [
    "Arrived",
    "Capacity",
    "Decision",
    "Limiter",
    "Node",
    "Override",
    "Probe",
    "Reason",
    "Snapshot",
    "ThresholdRule",
]
__all__ += ["REASON_MEANINGS", "TopicParams", "Totals", "WorkerCounts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node, and what is free for us there, our own workers' share counted as free; ``total``: in use or not."""

    node_id: str
    available: Resources
    total: Resources = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the cluster can hold of our workers now: free resources plus what our own workers hold, by node.

    ``draining``: nodes that Ray is about to remove; they are not among ``nodes``.
    """

    nodes: tuple[Node, ...]
    draining: frozenset[str] = frozenset()

    def smallest_first(self) -> list[Node]:
        """Those with the fewest kinds of resources, then with the smallest part of all there is, then by name.

        So a node with a GPU comes after those without. What others use does not enter: as it changed, grants would.
        """
        whole: dict[str, float] = {}
        for node in self.nodes:
            for name, amount in node.total.items():
                whole[name] = whole.get(name, 0.0) + amount

        def what_it_has(node: Node) -> tuple[int, float, str]:
            parts = [amount / whole[name] for name, amount in node.total.items() if amount > 0]
            return len(parts), round(sum(parts), 6), node.node_id

        return sorted(self.nodes, key=what_it_has)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRule:
    """Go Hermes' rule; counts are workers, ratios of the current number of workers, times seconds."""

    up_ready_count: int = 100
    down_ready_count: int = 10
    up_ratio: float = 0.2
    down_ratio: float = 0.1
    interval_s: float = 300.0
    cooldown_s: float = 120.0
    min_step: int = 1
    max_step: int = 10
    up_checks: int = 2
    down_checks: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicParams:
    """What the configuration tells the policy about one topic. ``concurrency`` is slots per worker.

    ``single_active``: the broker gives messages to one of its workers at a time, whatever their number.
    """

    topic: str
    policy: str = "adaptive"
    weight: float = 1.0
    latency_objective_s: float = 30.0
    latency_objective_ratio: float = 0.99
    workers_min: int = 0
    workers_max: int = 10
    single_active: bool = False
    concurrency: int = 1
    worker: Resources = field(default_factory=dict)
    threshold: ThresholdRule = field(default_factory=ThresholdRule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the broker said of a topic's queues; ``at_s`` is when it said how many messages are ready in the main one.

    ``retrying_count``: messages in the wait queues that are known, together. It is of the same moment wherever one of
    them held messages or the topic retried in the last half minute; a wait queue that stays empty is looked at once in
    10 s, so that it counts as empty for up to 10 s after its first message. ``dead_count``: messages in the dead-letter
    queue, up to 10 s ago; None where that is unknown. With a broker that answers slowly both are older.
    """

    at_s: float
    ready_count: int
    retrying_count: int = 0
    dead_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """Messages that ever arrived, first deliveries only, counted for the moment ``at_s`` of a depth probe.

    ``count`` is ready + retrying as probed plus held + left as the workers had it at that moment, interpolated between
    their reports: off by a constant, it is good for differences.
    """

    at_s: float
    count: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over all workers a topic ever had (departed ones included), as last reported; all never decrease
    except ``held_count`` and ``running_count``, which are of the living workers now.

    ``settled_count``: deliveries gone for good (acked after success, or moved to the dead-letter queue); a retry is not
    counted: it waits in ``Probe.retrying_count``. ``busy_s``: slot-seconds in handlers, running ones up to now too.
    ``finished_count``: handler runs that ended, whatever the outcome, and ``finished_s`` what they took together, None
    where nobody summed it. ``service`` and ``wait``: log-bucket histograms (see histogram.py) of handler durations and
    of waits (publish, or retry due, to handler start).
    """

    held_count: int = 0
    running_count: int = 0
    longest_running_s: float = 0.0
    settled_count: int = 0
    finished_count: int = 0
    finished_s: float | None = None
    busy_s: float = 0.0
    service: tuple[int, ...] = ()
    wait: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCounts:
    """Workers of a topic by state; disjoint. ``observed`` consume."""

    observed: int = 0
    starting: int = 0
    draining: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One topic at ``at_s``: every signal with ``None`` for unknown.

    ``ready_count`` in the queue, ``retrying_count`` in its wait queues, ``held_count`` delivered and unsettled, of them
    ``running_count`` in a handler now, one of them for ``longest_running_s`` so far; first arrivals
    ``arrival_rate_hz``, ``service_rate_hz`` of one busy slot, ``service_p95_s`` and ``wait_p95_s``.
    ``oldest_age_s``: how long the oldest ready message has been there, at least.
    ``unfinished_s``: for how long no run has ended, as far as reports tell; None where none ever has.
    Over the last 10 s, or two report intervals: ``finish_rate_hz`` handler runs per second, ``growth_rate_hz`` of all
    that is unsettled (negative: shrinking), ``utilisation_ratio`` busy slot-seconds of those there were.
    """

    topic: str
    at_s: float
    ready_count: int | None = None
    retrying_count: int | None = None
    held_count: int | None = None
    running_count: int | None = None
    arrival_rate_hz: float | None = None
    service_rate_hz: float | None = None
    service_p95_s: float | None = None
    wait_p95_s: float | None = None
    oldest_age_s: float | None = None
    finish_rate_hz: float | None = None
    growth_rate_hz: float | None = None
    utilisation_ratio: float | None = None
    longest_running_s: float | None = None
    unfinished_s: float | None = None
    workers: WorkerCounts = field(default_factory=WorkerCounts)


class Reason(StrEnum):
    """Why the target is what it is: the binding one of a decision."""

    DEMAND = "demand"
    STEADY = "steady"
    FIRST_WORKER = "first_worker"
    NO_DATA = "no_data"
    STABILISING = "stabilising"
    UNFINISHED = "unfinished"
    FIRST_RUN = "first_run"
    WORKERS_MIN = "workers_min"
    WORKERS_MAX = "workers_max"
    SINGLE_ACTIVE = "single_active"
    STARTS_FAIL = "starts_fail"
    CAPACITY = "capacity"
    FIXED = "fixed"
    THRESHOLD = "threshold"
    MIN_STEP = "min_step"
    MAX_STEP = "max_step"
    COOLDOWN = "cooldown"
    PINNED = "pinned"
    PAUSED = "paused"
    STOPPED = "stopped"


REASON_MEANINGS: Mapping[Reason, str] = {
    Reason.DEMAND: "What arrives and what waits need so many.",
    Reason.STEADY: "As many are needed as were wanted already, or the threshold rule has nothing to do.",
    Reason.FIRST_WORKER: "Messages wait where no worker was wanted: the first one.",
    Reason.NO_DATA: "A depth or a rate is unknown: the number holds.",
    Reason.STABILISING: "Fewer would do, but more were wanted in the last 60 s, or three report intervals.",
    Reason.UNFINISHED: "More are wanted, but no handler has ended for long: the number holds.",
    Reason.FIRST_RUN: "More are wanted, but no handler has ever ended: the number grows carefully.",
    Reason.WORKERS_MIN: "Raised to workers.min.",
    Reason.WORKERS_MAX: "Capped at workers.max.",
    Reason.SINGLE_ACTIVE: "The queue serves one consumer at a time: one worker and a standby.",
    Reason.STARTS_FAIL: "More are wanted, but workers do not start: others come first, and the room ends.",
    Reason.CAPACITY: "Cut by the room in the cluster.",
    Reason.FIXED: "The policy is fixed: workers.max.",
    Reason.THRESHOLD: "The threshold rule made a step.",
    Reason.MIN_STEP: "The threshold rule made a step of min_step, the smallest.",
    Reason.MAX_STEP: "The threshold rule made a step of max_step, the largest.",
    Reason.COOLDOWN: "The threshold rule waits after its last step.",
    Reason.PINNED: "A person said how many: hermes scale.",
    Reason.PAUSED: "A person said none: hermes pause, until hermes resume.",
    Reason.STOPPED: "A person said none: hermes stop, until the next apply.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What a person said about one topic; the first of these wins: stopped, paused, pinned, the policy.

    ``stopped`` lasts until the next apply, ``paused`` until resumed, ``pinned_count`` workers until ``pinned_until_s``
    (a second of the scaler's clock; None: until resumed).
    """

    stopped: bool = False
    paused: bool = False
    pinned_count: int | None = None
    pinned_until_s: float | None = None

    def winner(self, now_s: float) -> tuple[Reason, int] | None:
        """What rules now and the workers it wants; None: the policy does. A pin to 3 that ended rules nothing."""
        if self.stopped:
            return Reason.STOPPED, 0
        if self.paused:
            return Reason.PAUSED, 0
        if self.pinned_count is not None and (self.pinned_until_s is None or now_s < self.pinned_until_s):
            return Reason.PINNED, self.pinned_count
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limiter:
    """One step of a decision that changed the number: ``before`` -> ``after``, and why."""

    reason: Reason
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The target for one topic now, where it was before, what bound it, and what it saw.

    ``text`` is one sentence with numbers for people. ``is_kept``: the target is of workers of the size before an apply,
    since none of the new size has a place. ``wanted``: the target if there were room for all, as far as is known.
    """

    topic: str
    at_s: float
    before: int
    target: int
    reason: Reason
    limiters: tuple[Limiter, ...]
    snapshot: Snapshot
    text: str
    is_kept: bool = False
    wanted: int = 0
