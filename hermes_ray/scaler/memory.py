"""What a scaler must not forget: plain data that a restarted scaler, or the next one, goes on from.

It is written as changes: what a topic counts and was told at once, what was learnt of it in turns, each worker with its
report. ``merged`` puts changes together again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct, field, structs

from hermes_ray.core.effect import Effect
from hermes_ray.core.estimate import History, elsewhere, learnt
from hermes_ray.core.model import Override
from hermes_ray.core.policy import PolicyState, TopicState
from hermes_ray.scaler.clock import Anchor
from hermes_ray.scaler.fitting import Fitting
from hermes_ray.scaler.plan import Owner, Plan
from hermes_ray.telemetry.figures import PastDecision, TopicCounts
from hermes_ray.worker.counters import Counters
from hermes_ray.worker.report import Report

__all__ = ["Changes", "Header", "Memory", "TopicLearnt", "TopicMemory", "WorkerMemory", "decode", "encode", "merged"]
__all__ += ["decode_what_fits", "policy_state", "recalled", "without_overrides"]


class TopicMemory(Struct, frozen=True, kw_only=True):
    """What a topic, configured now or once, has counted and was told; ``recent_decisions`` oldest first.

    ``counters`` are of all workers it ever had. ``wait_rungs_ms``: delays whose wait queues are known to exist.
    ``left_out_since_s``: since when it is not configured any more.
    """

    override: Override = field(default_factory=Override)
    counters: Counters = field(default_factory=Counters)
    counts: TopicCounts = field(default_factory=TopicCounts)
    recent_decisions: tuple[PastDecision, ...] = ()
    wait_rungs_ms: tuple[int, ...] = ()
    left_out_since_s: float | None = None

    @property
    def is_at_rest(self) -> bool:
        """Whether it has no pool until another apply: it is left out, or stopped."""
        return self.left_out_since_s is not None or self.override.stopped


class TopicLearnt(Struct, frozen=True, kw_only=True):
    """What was learnt of a topic: a restart without the last seconds of it costs freshness only."""

    history: History = field(default_factory=History)
    effect: Effect = field(default_factory=Effect)
    policy: TopicState | None = None


class WorkerMemory(Struct, kw_only=True):
    """A living worker, asked for or first seen at ``since_s``; ``adopted`` if not by this deployment's scaler.

    ``before_s`` and ``before_taken``: when the report before the last came, and what it had taken then (see
    ``core/arrivals``), ``earlier_s`` and ``earlier_taken`` the same of the one before that;
    ``settled_count`` since it was first seen; ``asked_node_id``: where it was to start; ``size``: what it takes, None
    if it is not ours or older; ``revision``: of what code and settings it was started, empty where unknown;
    ``failed``: its start did; Ray may list it for a moment yet;
    ``silent_since_s``: when it was heard last, once it has been silent for so long that it was said.
    """

    worker: str
    since_s: float
    adopted: bool = False
    report: Report | None = None
    reported_s: float | None = None
    before_s: float | None = None
    before_taken: float = 0.0
    earlier_s: float | None = None
    earlier_taken: float = 0.0
    settled_count: int = 0
    drain_asked_s: float | None = None
    drain_by_s: float | None = None
    asked_node_id: str | None = None
    size: dict[str, float] | None = None
    revision: str = ""
    failed: bool = False
    silent_since_s: float | None = None


class Header(Struct, frozen=True, kw_only=True):
    """The deployment: under the plan ``generation`` on the cluster ``cluster_id``, as of ``anchor``.

    ``stop_by_s``: an accepted stop order that is not carried out yet. ``report_interval_s``: what workers keep to.
    """

    generation: int = 0
    cluster_id: str = ""
    anchor: Anchor | None = None
    owner: Owner | None = None
    stop_by_s: float | None = None
    report_interval_s: float = 1.0


class Changes(Struct, frozen=True, kw_only=True):
    """What differs from what was written before; of everything, with ``is_whole``.

    ``gone`` workers and ``forgotten`` topics are named; all others stay as they were.
    """

    header: Header
    is_whole: bool = False
    topics: dict[str, TopicMemory] = {}
    learnt: dict[str, TopicLearnt] = {}
    workers: list[WorkerMemory] = []
    gone: list[str] = []
    forgotten: list[str] = []


class Memory(Struct, frozen=True, kw_only=True):
    """Everything together."""

    header: Header
    topics: Mapping[str, TopicMemory] = {}
    learnt: Mapping[str, TopicLearnt] = {}
    workers: Mapping[str, WorkerMemory] = {}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Changes)
_DIVISIBLE = (Changes, Header, TopicMemory, TopicCounts, Counters, TopicLearnt, WorkerMemory)


def encode(changes: Changes) -> bytes:
    """``changes`` as msgpack."""
    return _encoder.encode(changes)


def decode(data: bytes) -> Changes:
    """What was encoded; raises ``ValueError`` for what is none, or does not fit this version."""
    try:
        return _decoder.decode(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def decode_what_fits(data: bytes) -> tuple[Changes, list[str]]:
    """What was encoded, by another version perhaps, and the names of the parts that do not fit and were left out.

    They cost what was in them, and nothing beside. Raises ``ValueError`` for what is no memory at all.
    """
    try:
        return decode(data), []
    except msgspec.ValidationError:
        fitting = Fitting(_DIVISIBLE)
        changes = fitting.fit(msgspec.msgpack.decode(data, type=dict), Changes)
        return structs.replace(changes, workers=list(map(_readable, changes.workers))), fitting.left_out


def _readable(worker: WorkerMemory) -> WorkerMemory:
    """One whose last report was left out counts from its next one on, like an adopted one: not all of it once more."""
    if worker.report is not None or worker.reported_s is None:
        return worker
    return structs.replace(worker, adopted=True, reported_s=None, before_s=None, before_taken=0.0)


def merged(changes: Iterable[Changes]) -> Memory | None:
    """All ``changes`` put together in order; None of none."""
    header: Header | None = None
    topics: dict[str, TopicMemory] = {}
    learnings: dict[str, TopicLearnt] = {}
    workers: dict[str, WorkerMemory] = {}
    for change in changes:
        header = change.header
        if change.is_whole:
            topics, learnings, workers = {}, {}, {}
        topics |= change.topics
        learnings |= change.learnt
        workers |= {worker.worker: worker for worker in change.workers}
        for name in change.gone:
            workers.pop(name, None)
        for name in change.forgotten:
            topics.pop(name, None)
            learnings.pop(name, None)
    return None if header is None else Memory(header=header, topics=topics, learnt=learnings, workers=workers)


def recalled(memory: Memory | None, plan: Plan, cluster_id: str) -> Memory:
    """What a scaler started with ``plan`` on ``cluster_id`` goes on from.

    Restarted under the same plan: everything. Under a later plan: everything but a stop order and stopped topics, which
    an apply ends, and the targets of topics that did not work. On another cluster: learnt rates, since its workers,
    counts and pauses are none of ours.
    """
    fresh = Header(generation=plan.generation, cluster_id=cluster_id, owner=plan.owner)
    if memory is None:
        return Memory(header=fresh)
    header = memory.header
    if header.cluster_id != cluster_id:
        priors = {topic: learnt(past.history) for topic, past in memory.learnt.items()}
        return Memory(
            header=structs.replace(fresh, anchor=header.anchor),
            learnt={topic: TopicLearnt(history=elsewhere(prior)) for topic, prior in priors.items()},
        )
    if header.generation == plan.generation:
        return memory
    rested = {topic for topic, past in memory.topics.items() if past.is_at_rest or header.stop_by_s is not None}
    return structs.replace(
        memory,
        header=structs.replace(fresh, anchor=header.anchor, report_interval_s=header.report_interval_s),
        topics={topic: _started_again(past) for topic, past in memory.topics.items()},
        learnt={topic: _without_target(past) if topic in rested else past for topic, past in memory.learnt.items()},
    )


def _started_again(past: TopicMemory) -> TopicMemory:
    return structs.replace(past, override=dataclasses.replace(past.override, stopped=False))


def _without_target(past: TopicLearnt) -> TopicLearnt:
    """A topic that comes back has the size of what it finds. Its last target may be of weeks ago: held until there is
    data it would take the room of those at work, for an empty queue perhaps.
    """
    return structs.replace(past, policy=None)


def policy_state(memory: Memory) -> PolicyState:
    """What the policy remembers of each topic."""
    states = {topic: past.policy for topic, past in memory.learnt.items() if past.policy is not None}
    return PolicyState(topics=states)


def without_overrides(topics: Mapping[str, TopicMemory]) -> dict[str, TopicMemory]:
    """The topics without what people said about them, as the end of a deployment leaves them."""
    return {topic: structs.replace(past, override=Override()) for topic, past in topics.items()}
