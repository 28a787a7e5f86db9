"""Who gets how many workers when not everything fits: minimums first, then strictly by weight, in whole workers.

Places are found on real nodes, never in a pooled sum, so a grant always has a packing. Minimums are reserved first,
in an order that no weight enters. Then the rest goes out class by class: the heavier first, and within one weight
topics whose workers have the same size share, smaller sizes before larger. A class takes what it wants or all that
fits, on nodes where its workers already live before others; inside it the topic with the fewest workers is served
next.

Raising a topic's weight never lowers its grant. Reservations are the same before and after. A class sees what the
classes before it left, and placing k workers of one size lowers the number of that size that still fit by exactly k,
wherever they are put. So a topic that moves ahead of others finds at least the room it found before, and one that
joins a class gets at least what the class would have left it. For the same reason the heavier of two like topics
never gets less, and grants fed back as living workers find the same room again: nothing changes. (Sharing one by one
between *different* sizes of equal weight would break this: a worker that takes another's node pushes it onto a third
one's.)

When the minimums do not all fit, only they are served, by the same rule, and nobody gets more: a minimum that does
not fit even into the empty cluster is first cut to what does, so one impossible topic does not hold back the others.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from hermes_ray.core.model import Bundle, Capacity

__all__ = ["Placement", "Want", "allocate", "place"]

Placement = dict[str, dict[str, int]]
"""Topic -> node id -> workers there."""

_Size = tuple[tuple[str, float], ...]
_Free = dict[str, dict[str, float]]

_EPSILON = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A topic asks for ``target`` workers of size ``bundle``, ``minimum`` of them before anybody's extras."""

    topic: str
    weight: float
    minimum: int
    target: int
    bundle: Bundle = field(default_factory=Bundle)


def allocate(wants: Sequence[Want], capacity: Capacity) -> dict[str, int]:
    """Workers granted to each topic, between its minimum and its target as far as there is room.

    Two topics of weight 10 and 1 that both want 8 of the 8 places of a cluster, with a minimum of 1: 7 and 1.
    """
    return {topic: sum(nodes.values()) for topic, nodes in place(wants, capacity).items()}


def place(wants: Sequence[Want], capacity: Capacity) -> Placement:
    """A packing of the grants. Workers that take nothing fit anywhere: they are shown on the node ``""``."""
    claims = sorted((_claim(want) for want in wants), key=_turn)
    nodes = sorted(capacity.nodes, key=lambda node: node.node_id)
    free: _Free = {node.node_id: dict(_amounts(node.available)) for node in nodes}
    living = {node.node_id: node.workers for node in nodes}
    floors = {c.topic: min(c.minimum, c.target, _room(free, c.size, c.minimum)) for c in claims}
    rest = {node_id: dict(amounts) for node_id, amounts in free.items()}
    reserved = _reserve(claims, floors, rest)
    if all(sum(reserved[topic].values()) == floor for topic, floor in floors.items()):
        return _share(claims, {claim.topic: claim.target for claim in claims}, reserved, rest, living)
    return _share(claims, floors, {claim.topic: {} for claim in claims}, free, living)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A want whose bundle is reduced to the resources it really takes."""

    topic: str
    weight: float
    minimum: int
    target: int
    size: _Size


def _claim(want: Want) -> _Claim:
    size = _amounts(want.bundle)
    return _Claim(topic=want.topic, weight=want.weight, minimum=want.minimum, target=want.target, size=size)


def _turn(claim: _Claim) -> tuple[float, _Size, str]:
    return (-claim.weight, claim.size, claim.topic)


def _amounts(bundle: Bundle) -> _Size:
    named = (("num_cpus", bundle.num_cpus), ("memory_bytes", bundle.memory_bytes), *sorted(bundle.custom.items()))
    return tuple((name, amount) for name, amount in named if amount > 0)


def _reserve(claims: Sequence[_Claim], floors: Mapping[str, int], free: _Free) -> Placement:
    """Places for the minimums, those that take the largest part of the cluster first; what they use leaves ``free``."""
    totals: dict[str, float] = {}
    for node in free.values():
        for name, amount in node.items():
            totals[name] = totals.get(name, 0.0) + amount

    def largest_first(claim: _Claim) -> tuple[float, str]:
        share = max((amount / totals[name] for name, amount in claim.size if name in totals), default=0.0)
        return (-share, claim.topic)

    in_order = sorted(claims, key=largest_first)
    return {claim.topic: _take(free, claim.size, floors[claim.topic], {}) for claim in in_order}


def _share(
    claims: Sequence[_Claim],
    targets: Mapping[str, int],
    placed: Placement,
    free: _Free,
    living: Mapping[str, Mapping[str, int]],
) -> Placement:
    """Add to ``placed``, class by class, what is missing to the targets and fits into ``free``."""
    for (_, size), group in groupby(claims, key=lambda claim: (claim.weight, claim.size)):
        topics = [claim.topic for claim in group]
        have = {topic: sum(placed[topic].values()) for topic in topics}
        missing = sum(targets[topic] - have[topic] for topic in topics)
        homes = {topic: _homes(topic, placed[topic], living) for topic in topics}
        preferred = {node_id: sum(home.get(node_id, 0) for home in homes.values()) for node_id in free}
        places = _take(free, size, missing, preferred)
        extra = _even(have, targets, sum(places.values()))
        for topic in topics:
            _move_in(placed[topic], places, extra, topic, homes[topic])
        for topic in topics:
            _move_in(placed[topic], places, extra, topic, places)
    return placed


def _move_in(
    placed: dict[str, int], places: dict[str, int], extra: dict[str, int], topic: str, limits: Mapping[str, int]
) -> None:
    """Give the topic up to its ``extra`` of the class's ``places``, on no node more than its limit there."""
    for node_id, free in places.items():
        count = min(free, extra[topic], limits.get(node_id, 0))
        if count > 0:
            placed[node_id] = placed.get(node_id, 0) + count
            places[node_id] -= count
            extra[topic] -= count


def _homes(topic: str, placed: Mapping[str, int], living: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Living workers by node, beyond those that already have a place there."""
    return {node_id: max(0, live.get(topic, 0) - placed.get(node_id, 0)) for node_id, live in living.items()}


def _even(have: Mapping[str, int], targets: Mapping[str, int], count: int) -> dict[str, int]:
    """Hand out ``count`` workers one by one to whoever has the fewest, by name among equals, none beyond its target.

    In closed form, whatever the count: all rise to one level, and what is left of ``count`` goes out by name. 5 for
    topics that have 0, 1 and 4 and want plenty raise the first two to level 3.
    """

    def risen(level: int) -> dict[str, int]:
        return {topic: max(0, min(level, targets[topic]) - number) for topic, number in have.items()}

    levels = range(max(targets.values(), default=0) + 1)
    level = bisect_right(levels, count, key=lambda level: sum(risen(level).values())) - 1
    extra = risen(level)
    open_topics = sorted(topic for topic, number in have.items() if number + extra[topic] == level < targets[topic])
    for topic in open_topics[: count - sum(extra.values())]:
        extra[topic] += 1
    return extra


def _take(free: _Free, size: _Size, count: int, preferred: Mapping[str, int]) -> dict[str, int]:
    """Use up to ``count`` places of this size, preferred ones first, then node by node in name order."""
    if not size:
        return {"": count}
    taken: dict[str, int] = {}
    for limits in (preferred, dict.fromkeys(free, count)):
        for node_id, limit in limits.items():
            if (fit := min(limit, count, _fits(free[node_id], size))) > 0:
                for name, amount in size:
                    free[node_id][name] -= fit * amount
                taken[node_id] = taken.get(node_id, 0) + fit
                count -= fit
    return taken


def _room(free: _Free, size: _Size, most: int) -> int:
    return min(most, sum(_fits(node, size) for node in free.values())) if size else most


def _fits(node: Mapping[str, float], size: _Size) -> int:
    return max(0, min(int(node.get(name, 0.0) / amount + _EPSILON) for name, amount in size))
