"""What a scaler must not forget: plain data that a restarted scaler, or the next one, goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hermes_ray.core.effect import Effect
from hermes_ray.core.estimate import History, learnt
from hermes_ray.core.model import Override
from hermes_ray.core.policy import PolicyState
from hermes_ray.deploy.plan import Owner, Plan
from hermes_ray.worker.counters import Counters

__all__ = ["Memory", "TopicMemory", "recalled", "without_overrides"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicMemory:
    """One topic, configured now or once. ``retired``: what its workers that are gone had done;
    ``recent_decisions``: oldest first.

    The counts are of the whole life of the deployment on this cluster.
    """

    history: History = field(default_factory=History)
    effect: Effect = field(default_factory=Effect)
    override: Override = field(default_factory=Override)
    retired: Counters = field(default_factory=Counters)
    probe_failures: int = 0
    start_failures: int = 0
    deaths: int = 0
    decisions: Mapping[str, int] = field(default_factory=dict)
    ups: int = 0
    downs: int = 0
    recent_decisions: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A deployment as of ``saved_s`` (Unix seconds), under the plan ``generation`` on the cluster ``cluster_id``.

    ``stop_by_s``: an accepted stop order that is not carried out yet. ``workers``: see ``Roster.remembered``.
    """

    generation: int
    cluster_id: str
    saved_s: float = 0.0
    owner: Owner | None = None
    stop_by_s: float | None = None
    policy: PolicyState = field(default_factory=PolicyState)
    topics: Mapping[str, TopicMemory] = field(default_factory=dict)
    workers: tuple[Mapping[str, Any], ...] = ()


def recalled(memory: Memory | None, plan: Plan, cluster_id: str) -> Memory:
    """What a scaler started with ``plan`` on ``cluster_id`` goes on from.

    Restarted under the same plan: everything. Under a later plan: everything but a stop order and stopped topics, which
    an apply ends. On another cluster: learnt rates, since its workers, counts and pauses are none of ours.
    """
    fresh = Memory(generation=plan.generation, cluster_id=cluster_id, owner=plan.owner)
    if memory is None:
        return fresh
    if memory.cluster_id != cluster_id:
        topics = {
            topic: TopicMemory(history=History(prior=learnt(past.history))) for topic, past in memory.topics.items()
        }
        return replace(fresh, topics=topics)
    if memory.generation == plan.generation:
        return memory
    topics = {
        topic: replace(past, override=replace(past.override, stopped=False)) for topic, past in memory.topics.items()
    }
    return replace(memory, generation=plan.generation, owner=plan.owner, stop_by_s=None, topics=topics)


def without_overrides(topics: Mapping[str, TopicMemory]) -> dict[str, TopicMemory]:
    """The topics without what people said about them, as the end of a deployment leaves them."""
    return {topic: replace(past, override=Override()) for topic, past in topics.items()}
