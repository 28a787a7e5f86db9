"""What is shown of one topic: what was seen, decided, counted, and what is wrong with it."""

from __future__ import annotations

from dataclasses import replace

from hermes_ray.broker.depth import ProbeFailure
from hermes_ray.core.conditions import Condition, Troubles, conditions
from hermes_ray.core.model import Decision, Snapshot
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.memory import TopicMemory
from hermes_ray.telemetry.figures import TopicFigures

__all__ = ["topic_figures"]


def topic_figures(
    queue: str,
    seen: Snapshot,
    decision: Decision | None,
    memory: TopicMemory,
    fleet: Fleet,
    *,
    failure: ProbeFailure | None,
    effectiveness_ratio: float | None,
    is_capacity_known: bool,
) -> TopicFigures:
    """The figures of the topic that ``seen`` is of, at its moment; workers that were ordered since show at once.

    ``failure``: why its last depth probe failed.
    """
    topic, now_s = seen.topic, seen.at_s
    team, recent = fleet.team(topic, now_s), memory.recent_decisions
    if seen.workers != team.counts:
        seen = replace(seen, workers=team.counts)
    return TopicFigures(
        topic=topic,
        queue=queue,
        snapshot=seen,
        target=None if decision is None else decision.target,
        workers_max=fleet.params[topic].workers_max,
        single_active=fleet.params[topic].single_active,
        slot_count=team.slot_count,
        outdated_count=sum(map(fleet.is_outdated, fleet.roster.of(topic))),
        counters=memory.counters,
        counts=memory.counts,
        effectiveness_ratio=effectiveness_ratio,
        report_lag_s=fleet.roster.report_lag_s(topic, now_s),
        said=memory.override,
        start_error=fleet.start_error(topic),
        depth_error=None if failure is None else failure.text,
        last_decision=recent[-1] if recent else None,
        conditions=_conditions_of(seen, decision, fleet, failure, is_capacity_known),
    )


def _conditions_of(
    seen: Snapshot, decision: Decision | None, fleet: Fleet, failure: ProbeFailure | None, is_capacity_known: bool
) -> frozenset[Condition]:
    topic, team = seen.topic, fleet.team(seen.topic, seen.at_s)
    troubles = Troubles(
        probe_failure_count=0 if failure is None else failure.count,
        start_failure_count=fleet.start_failure_count(topic),
        unresponsive_count=team.silent_count,
        not_consuming_count=team.not_consuming_count,
        unmovable_count=team.unmovable_count,
        hung_count=team.hung_count,
        is_placeless=fleet.lack(topic) is not None,
    )
    return conditions(
        seen,
        decision,
        fleet.params[topic],
        troubles,
        is_capacity_known=is_capacity_known,
        report_interval_s=fleet.report_interval_s,
    )
