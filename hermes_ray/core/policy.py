"""One step of the scaling policy: from what is seen of every topic to how many workers each should have, and why.

Propose (adaptive, threshold or fixed), stabilise, keep within ``workers.min``, ``workers.max`` and what the queue
serves, share the cluster. Each stage that changes the number is a limiter of the decision, in order; the last one
binds. What a person said about a topic takes the place of all stages but the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from types import MappingProxyType

from hermes_ray.core.demand import Checks, threshold, wanted
from hermes_ray.core.explain import explain
from hermes_ray.core.model import Capacity, Decision, Limiter, Override, Reason, Snapshot, TopicParams
from hermes_ray.core.service import recent_s
from hermes_ray.core.share import ALL_START, NONE_FORMER, Former, share
from hermes_ray.core.stabilise import Window, stabilise
from hermes_ray.core.stall import first_run_limit, is_first_run, stands_still

__all__ = ["PolicyState", "TopicState", "ended", "step"]

_NO_OVERRIDES: Mapping[str, Override] = MappingProxyType({})
_SINGLE_ACTIVE_MOST = 2  # the one that the broker serves, and a standby
_FAIL_FOR_S = 60.0  # starts that fail for less leave the topic its room, and so do starts that work for as long


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """What the policy remembers of one topic: its last target, recent recommendations, threshold checks.

    ``beneath``: while an override rules, or starts fail, the target without that; else None. ``wanted``: the target
    before the room cut it. ``failing``: since when starts fail, and when that was last seen.
    """

    target: int
    beneath: int | None = None
    wanted: int = 0
    failing: tuple[float, float] | None = None
    window: Window = field(default_factory=Window)
    checks: Checks = field(default_factory=Checks)

    @property
    def held(self) -> int:
        """What to go on from without data: the end of an override takes nothing away, and what it took comes back.

        After a pause it is the 8 there were before it, after a pin to 20 the 20; where starts failed, the 8 there were.
        """
        return self.target if self.beneath is None else max(self.target, self.beneath)


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
    """A decision in the making; ``number`` passes through the limiters, ``state`` becomes what is remembered."""

    params: TopicParams
    snapshot: Snapshot
    before: int
    state: TopicState
    number: int
    reason: Reason = Reason.STEADY
    limiters: list[Limiter] = field(default_factory=list)
    is_capacity_known: bool = True
    lack: str = ""
    is_kept: bool = False
    wanted: int = 0
    startable: int | None = None

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
    overrides: Mapping[str, Override] = _NO_OVERRIDES,
    *,
    former: Former = NONE_FORMER,
    startable: Mapping[str, int] = ALL_START,
    report_interval_s: float = 1.0,
) -> tuple[PolicyState, tuple[Decision, ...]]:
    """One decision for each topic of ``params``; topics that are not in it any more are forgotten.

    A topic without a snapshot holds. An unknown ``capacity`` (None) lets nothing grow and takes nothing away. Workers
    still starting count: the first ``before`` of a topic is what is observed and starting. An override that rules
    gives the number whatever is seen, outside ``workers.min`` and ``workers.max`` too, but not beyond what the queue
    serves and the capacity.
    Demand is watched on meanwhile: when an override ends, the target is where the last 60 s would have it, or the last
    three times ``report_interval_s``, the time between two reports of a worker. Workers of a ``former`` size work on
    where none of the size of now has a place. Topics whose starts have failed for a minute get as many as are
    ``startable``, and of the room that nobody else wants: what they cannot use is left to others, whatever the weight.
    """
    drafts = []
    for topic, its_params in params.items():
        draft = _draft(state.topics.get(topic), snapshots.get(topic), its_params, now_s)
        override = overrides.get(topic)
        ruling = None if override is None else override.winner(now_s)
        if ruling is None:
            _propose(draft, now_s, report_interval_s)
        else:
            _overrule(draft, ruling, now_s, report_interval_s)
        draft.startable = _startable(draft, state.topics.get(topic), startable.get(topic), now_s)
        drafts.append(draft)
    _share_cluster(drafts, capacity, former)
    decisions = tuple(_decision(draft, now_s, recent_s(report_interval_s)) for draft in drafts)
    topics = {draft.params.topic: replace(draft.state, target=draft.number, wanted=draft.wanted) for draft in drafts}
    return PolicyState(topics=topics), decisions


def ended(decision: Decision, seen: Snapshot, params: TopicParams) -> Decision:
    """What follows ``decision`` where the deployment stops: no worker, whatever is ``seen``."""
    last = replace(
        decision,
        at_s=seen.at_s,
        before=decision.target,
        target=0,
        reason=Reason.STOPPED,
        limiters=(),
        snapshot=seen,
        is_kept=False,
        wanted=0,
    )
    return replace(last, text=explain(last, params, is_capacity_known=True))


def _draft(past: TopicState | None, seen: Snapshot | None, params: TopicParams, now_s: float) -> _Draft:
    snapshot = seen or Snapshot(topic=params.topic, at_s=now_s)
    state = past or TopicState(target=_living(snapshot))
    return _Draft(params, snapshot, state.target, state, state.held, wanted=state.wanted)


def _propose(draft: _Draft, now_s: float, report_interval_s: float) -> None:
    snapshot, params = draft.snapshot, draft.params
    _RULES[params.policy](draft, now_s, report_interval_s)
    still_wanted = _still_wanted(draft, now_s, recent_s(report_interval_s))
    if (snapshot.ready_count or 0) + (snapshot.held_count or 0) > 0:
        draft.limit(Reason.FIRST_WORKER, max(draft.number, 1))
    draft.limit(Reason.WORKERS_MIN, max(draft.number, params.workers_min))
    draft.limit(Reason.WORKERS_MAX, min(draft.number, params.workers_max))
    draft.limit(Reason.SINGLE_ACTIVE, _served(draft.number, params))
    draft.wanted = max(draft.number, _served(min(still_wanted, params.workers_max), params))


def _served(number: int, params: TopicParams) -> int:
    """``number``, as far as the queue gives messages to so many; whoever asks for more."""
    return min(number, _SINGLE_ACTIVE_MOST) if params.single_active else number


def _still_wanted(draft: _Draft, now_s: float, window_s: float) -> int:
    """What remains of the number that the room has cut: nobody's target, but old workers of a roll-out stay for it.

    The most that was recommended in ``window_s``; the former one where a rule holds or steps on from the cut number.
    """
    window, before, number = draft.state.window, draft.before, draft.number
    if draft.params.policy == "threshold":
        return draft.wanted if number >= before else ceil(draft.wanted * number / before)
    is_covered = window.since_s is not None and now_s - window.since_s >= window_s
    return window.peaks[0][1] if is_covered and draft.reason not in _HOLDING else draft.wanted


def _overrule(draft: _Draft, ruling: tuple[Reason, int], now_s: float, report_interval_s: float) -> None:
    """The ruling's number. The threshold rule's checks start afresh: what they would count is the override's doing."""
    past, number = draft.state, wanted(draft.snapshot, draft.params)
    number = past.held if number is None else number
    window, _ = stabilise(past.window, number, past.target, now_s, recent_s(report_interval_s))
    beneath = past.target if past.beneath is None else past.beneath
    draft.state = TopicState(target=past.target, beneath=beneath, window=window)
    draft.reason, draft.number = ruling
    draft.limit(Reason.SINGLE_ACTIVE, _served(draft.number, draft.params))
    draft.wanted = draft.number


def _startable(draft: _Draft, past: TopicState | None, startable: int | None, now_s: float) -> int | None:
    """How many workers the topic can use, None where its starts do not fail for long.

    After they did, as many as there are, until none has failed for a minute: so also after a restart of the scaler,
    which has forgotten what failed. One more would come and go where each dies soon after it has shown that it works.
    """
    failing, observed = None if past is None else past.failing, draft.snapshot.workers.observed
    if startable is not None:
        failing = (now_s if failing is None else failing[0], now_s)
    elif failing is not None and (draft.number == 0 or (observed and now_s - failing[1] > _FAIL_FOR_S)):
        failing = None
    draft.state = replace(draft.state, failing=failing)
    if failing is None or failing[1] - failing[0] <= _FAIL_FOR_S:
        return None
    return max(1, _living(draft.snapshot)) if startable is None else startable


def _living(snapshot: Snapshot) -> int:
    return snapshot.workers.observed + snapshot.workers.starting


def _adaptive(draft: _Draft, now_s: float, report_interval_s: float) -> None:
    seen, params, held = draft.snapshot, draft.params, draft.number
    number = wanted(seen, params, draft.before)
    if number is None:
        draft.reason = Reason.NO_DATA
    else:
        draft.number, draft.reason = number, Reason.DEMAND
        if number > held and stands_still(seen, params, report_interval_s=report_interval_s):
            draft.limit(Reason.UNFINISHED, held)
        elif number > held and is_first_run(seen):
            draft.limit(Reason.FIRST_RUN, min(number, max(held, first_run_limit(seen))))
    window, stable = stabilise(draft.state.window, draft.number, draft.before, now_s, recent_s(report_interval_s))
    draft.state = TopicState(target=draft.before, window=window)
    draft.limit(Reason.STABILISING, stable)


def _by_threshold(draft: _Draft, now_s: float, _report_interval_s: float) -> None:
    checks, proposal = threshold(draft.state.checks, draft.snapshot, draft.params, draft.number, now_s)
    draft.number, draft.reason = proposal.by_ratio, proposal.reason
    draft.state = TopicState(target=draft.before, checks=checks)
    draft.limit(Reason.MIN_STEP, proposal.with_min_step)
    draft.limit(Reason.MAX_STEP, proposal.with_max_step)


def _fixed(draft: _Draft, _now_s: float, _report_interval_s: float) -> None:
    draft.number, draft.reason = draft.params.workers_max, Reason.FIXED
    draft.state = TopicState(target=draft.before)


_HOLDING = (Reason.NO_DATA, Reason.UNFINISHED, Reason.FIRST_RUN)

_RULES = {"adaptive": _adaptive, "threshold": _by_threshold, "fixed": _fixed}


def _share_cluster(drafts: list[_Draft], capacity: Capacity | None, former: Former) -> None:
    if capacity is None:
        for draft in drafts:
            draft.is_capacity_known = False
            most = max(draft.before, _living(draft.snapshot))
            _cut(draft, Reason.CAPACITY, min(draft.number, most))
        return
    params = {draft.params.topic: draft.params for draft in drafts}
    startable = {draft.params.topic: draft.startable for draft in drafts if draft.startable is not None}
    shares = share({draft.params.topic: draft.number for draft in drafts}, params, capacity, former, startable)
    for draft in drafts:
        granted, draft.lack, draft.is_kept = shares[draft.params.topic]
        is_failing = draft.startable is not None and draft.startable <= granted
        _cut(draft, Reason.STARTS_FAIL if is_failing else Reason.CAPACITY, granted)


def _cut(draft: _Draft, reason: Reason, granted: int) -> None:
    """By the room; of a topic whose starts fail the number goes on from what it was, once they do not."""
    if draft.startable is not None and granted < draft.number and draft.state.beneath is None:
        draft.state = replace(draft.state, beneath=draft.number)
    draft.limit(reason, granted)


def _decision(draft: _Draft, now_s: float, window_s: float) -> Decision:
    steady = draft.number == draft.before and draft.reason is Reason.DEMAND
    decision = Decision(
        topic=draft.params.topic,
        at_s=now_s,
        before=draft.before,
        target=draft.number,
        reason=Reason.STEADY if steady else draft.reason,
        limiters=tuple(draft.limiters),
        snapshot=draft.snapshot,
        text="",
        is_kept=draft.is_kept,
        wanted=draft.wanted,
    )
    return replace(
        decision,
        text=explain(
            decision, draft.params, is_capacity_known=draft.is_capacity_known, lack=draft.lack, window_s=window_s
        ),
    )
