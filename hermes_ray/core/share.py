"""What each topic gets of the cluster, also in the middle of a roll-out to workers of another size.

Grants are for the size of now. A topic of which no worker of that size finds a place, since others hold what it takes,
keeps those it has of a former size as far as its share of the cluster goes: an apply that asks for what is not there
takes no worker away. Of a topic whose workers do not start, those that cannot be used yet come after everybody else's,
whatever its weight: room that nobody else wants is its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from hermes_ray.core.allocate import Want, allot, left_of
from hermes_ray.core.model import Capacity, TopicParams
from hermes_ray.core.resources import Resources

__all__ = ["ALL_START", "NONE_FORMER", "Former", "Share", "share"]

Former = Mapping[str, Sequence[tuple[Resources, int]]]
"""Topic -> what its workers from before an apply take, and how many of them there are."""

_MOST_LOOKS = 8  # each shares the whole cluster

NONE_FORMER: Former = MappingProxyType({})
ALL_START: Mapping[str, int] = MappingProxyType({})


class Share(NamedTuple):
    """``granted`` workers, of a former size where ``is_kept``; ``lack``: what keeps one more of the size of now from a
    place, empty where nothing does.
    """

    granted: int
    lack: str
    is_kept: bool


def share(
    targets: Mapping[str, int],
    params: Mapping[str, TopicParams],
    capacity: Capacity,
    former: Former = NONE_FORMER,
    startable: Mapping[str, int] = ALL_START,
) -> dict[str, Share]:
    """What each topic of ``targets`` gets; ``startable``: how many it can use, for those whose workers do not start."""
    now = {topic: min(target, startable.get(topic, target)) for topic, target in targets.items()}
    wants = {topic: [_want(params[topic], count)] for topic, count in now.items()}
    shared = allot([want for its_wants in wants.values() for want in its_wants], capacity)
    kept = set[str]()
    for _ in range(_MOST_LOOKS):  # who keeps its old ones may take another one's only place
        placeless = [t for t in former if targets.get(t) and t not in kept and not shared.grant(t)]
        if not placeless:
            break
        kept.update(placeless)
        for topic in placeless:
            wants[topic] += _kept(params[topic], targets[topic], former[topic])
        shared = allot([want for its_wants in wants.values() for want in its_wants], capacity)
    granted = {topic: sum(shared.grant(want.topic) for want in its_wants) for topic, its_wants in wants.items()}
    lacks = dict(shared.lacks)
    if later := [_want(params[t], targets[t] - count) for t, count in now.items() if count < targets[t]]:
        sizes = {want.topic: want.size for its_wants in wants.values() for want in its_wants}
        extra = allot([replace(want, minimum=0) for want in later], left_of(capacity, shared.placement, sizes))
        lacks |= extra.lacks
        for want in later:
            granted[want.topic] += extra.grant(want.topic)
    return {
        topic: Share(granted=min(target, granted[topic]), lack=lacks.get(topic, ""), is_kept=topic in kept)
        for topic, target in targets.items()
    }


def _want(params: TopicParams, target: int) -> Want:
    minimum = min(params.workers_min, target)
    return Want(topic=params.topic, weight=params.weight, minimum=minimum, target=target, size=params.worker)


def _kept(params: TopicParams, target: int, former: Sequence[tuple[Resources, int]]) -> list[Want]:
    """To keep those of a former size, ``target`` of them at most, each size under a name of its own."""
    minimum, wants = min(params.workers_min, target), []
    for n, (size, count) in enumerate(former):
        kept = min(count, target)
        least = min(minimum, kept)
        wants.append(Want(topic=f"{params.topic}/{n}", weight=params.weight, minimum=least, target=kept, size=size))
        minimum, target = minimum - least, target - kept
    return wants
