"""One step of the scaling policy: from what is seen of every topic to how many workers each should have, and why.

Propose (adaptive, threshold or fixed), stabilise, keep within ``workers.min`` and ``workers.max``, share the cluster.
Each stage that changes the number is a limiter of the decision, in order; the last one binds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hermes_ray.core.allocate import Want, allocate
from hermes_ray.core.demand import Checks, threshold, wanted
from hermes_ray.core.model import Capacity, Decision, Limiter, Reason, Snapshot, TopicParams
from hermes_ray.core.stabilise import Window, stabilise

__all__ = ["PolicyState", "TopicState", "step"]

_WHOLE_FROM = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """What the policy remembers of one topic: its last target, recent recommendations, threshold checks."""

    target: int
    window: Window = field(default_factory=Window)
    checks: Checks = field(default_factory=Checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """What the policy remembers between steps, plain data; without it the living workers are the first targets."""

    topics: Mapping[str, TopicState] = field(default_factory=dict)

    def target(self, topic: str) -> int | None:
        """The last target decided for ``topic``, None before its first decision."""
        state = self.topics.get(topic)
        return None if state is None else state.target


@dataclass(slots=True)
class _Draft:
    """A decision in the making; ``number`` passes through the limiters."""

    params: TopicParams
    snapshot: Snapshot
    before: int
    state: TopicState
    number: int
    reason: Reason
    limiters: list[Limiter] = field(default_factory=list)
    is_capacity_known: bool = True

    def limit(self, reason: Reason, after: int) -> None:
        if after != self.number:
            self.limiters.append(Limiter(reason=reason, before=self.number, after=after))
            self.number, self.reason = after, reason


def step(
    state: PolicyState,
    snapshots: Mapping[str, Snapshot],
    capacity: Capacity | None,
    params: Mapping[str, TopicParams],
    now_s: float,
) -> tuple[PolicyState, tuple[Decision, ...]]:
    """One decision for each topic of ``params``; topics that are not in it any more are forgotten.

    A topic without a snapshot holds. An unknown ``capacity`` (None) lets nothing grow and takes nothing away. Workers
    still starting count: the first ``before`` of a topic is what is observed and starting.
    """
    drafts = [_draft(state, topic, snapshots.get(topic), params[topic], now_s) for topic in params]
    _share_cluster(drafts, capacity)
    decisions = tuple(_decision(draft, now_s) for draft in drafts)
    topics = {
        draft.params.topic: TopicState(target=draft.number, window=draft.state.window, checks=draft.state.checks)
        for draft in drafts
    }
    return PolicyState(topics=topics), decisions


def _draft(state: PolicyState, topic: str, seen: Snapshot | None, params: TopicParams, now_s: float) -> _Draft:
    snapshot = seen or Snapshot(topic=topic, at_s=now_s)
    past = state.topics.get(topic) or TopicState(target=_living(snapshot))
    draft = _Draft(params, snapshot, past.target, past, past.target, Reason.STEADY)
    _PROPOSE[params.policy](draft, now_s)
    if (snapshot.ready_count or 0) + (snapshot.held_count or 0) > 0:
        draft.limit(Reason.FIRST_WORKER, max(draft.number, 1))
    draft.limit(Reason.WORKERS_MIN, max(draft.number, params.workers_min))
    draft.limit(Reason.WORKERS_MAX, min(draft.number, params.workers_max))
    return draft


def _living(snapshot: Snapshot) -> int:
    return snapshot.workers.observed + snapshot.workers.starting


def _adaptive(draft: _Draft, now_s: float) -> None:
    number = wanted(draft.snapshot, draft.params)
    if number is None:
        draft.reason = Reason.NO_DATA
    else:
        draft.number, draft.reason = number, Reason.DEMAND
    window, stable = stabilise(draft.state.window, number, draft.before, now_s)
    draft.limit(Reason.STABILISING, stable)
    draft.state = TopicState(target=draft.before, window=window)


def _threshold(draft: _Draft, now_s: float) -> None:
    checks, number, reason = threshold(draft.state.checks, draft.snapshot, draft.params, draft.before, now_s)
    draft.number, draft.reason = number, reason
    draft.state = TopicState(target=draft.before, checks=checks)


def _fixed(draft: _Draft, now_s: float) -> None:
    draft.number, draft.reason = draft.params.workers_max, Reason.FIXED
    draft.state = TopicState(target=draft.before)


_PROPOSE = {"adaptive": _adaptive, "threshold": _threshold, "fixed": _fixed}


def _share_cluster(drafts: list[_Draft], capacity: Capacity | None) -> None:
    if capacity is None:
        for draft in drafts:
            draft.is_capacity_known = False
            most = max(draft.before, _living(draft.snapshot))
            draft.limit(Reason.CAPACITY, min(draft.number, most))
        return
    wants = [
        Want(
            topic=draft.params.topic,
            weight=draft.params.weight,
            minimum=min(draft.params.workers_min, draft.number),
            target=draft.number,
            bundle=draft.params.worker,
        )
        for draft in drafts
    ]
    grants = allocate(wants, capacity)
    for draft in drafts:
        draft.limit(Reason.CAPACITY, grants[draft.params.topic])


def _decision(draft: _Draft, now_s: float) -> Decision:
    steady = draft.number == draft.before and draft.reason is Reason.DEMAND
    reason = Reason.STEADY if steady else draft.reason
    return Decision(
        topic=draft.params.topic,
        at_s=now_s,
        before=draft.before,
        target=draft.number,
        reason=reason,
        limiters=tuple(draft.limiters),
        snapshot=draft.snapshot,
        text=_text(draft, reason),
    )


def _text(draft: _Draft, reason: Reason) -> str:
    """``8 -> 13 workers: 412 waiting, arrivals 31/s, one slot does 2.6/s; capped from 15 by workers.max``."""
    change = f"{draft.before} -> {draft.number}" if draft.number != draft.before else f"{draft.number}"
    plural = "worker" if draft.number == 1 else "workers"
    seen = draft.snapshot
    facts = [
        f"{_plain(seen.ready_count)} waiting",
        f"{seen.held_count} held" if seen.held_count else "",
        f"arrivals {_plain(seen.arrival_rate_hz)}/s" if seen.arrival_rate_hz is not None else "arrivals unknown",
        f"one slot does {_plain(seen.service_rate_hz)}/s" if seen.service_rate_hz is not None else "",
    ]
    return f"{change} {plural}: {', '.join(filter(None, facts))}{_why(draft, reason)}"


def _plain(number: float | None) -> str:
    """Three digits at most that mean something: 412, 31, 2.6, 0.0167; large numbers whole."""
    if number is None:
        return "unknown"
    return f"{number:.0f}" if number >= _WHOLE_FROM else f"{number:.3g}"


def _why(draft: _Draft, reason: Reason) -> str:
    was = draft.limiters[-1].before if draft.limiters else draft.number
    room = "the room in the cluster" if draft.is_capacity_known else "a cluster whose room is unknown"
    clauses = {
        Reason.NO_DATA: "held, because data is missing",
        Reason.FIRST_WORKER: "a first worker for what waits",
        Reason.STABILISING: f"kept above {was} by the last 60 s",
        Reason.WORKERS_MIN: f"raised from {was} by workers.min",
        Reason.WORKERS_MAX: f"capped from {was} by workers.max",
        Reason.CAPACITY: f"cut from {was} by {room}",
        Reason.FIXED: "fixed at workers.max",
        Reason.THRESHOLD: "by the threshold rule",
        Reason.COOLDOWN: "held by the threshold rule's cooldown",
    }
    return f"; {clauses[reason]}" if reason in clauses else ""
