"""Who is served next, and where: class by class, the heavier first, whoever has the fewest workers within one.

Topics of one weight whose workers have the same size are a class. Why this order, and what it promises, stands in
``allocate``, which reserves the minimums before and calls this for the rest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from hermes_ray.core.firsts import Effort, Nodes, first_places, firsts_by_turn, take_firsts
from hermes_ray.core.repacking import Repacking
from hermes_ray.core.resources import Size, fit_count, take

__all__ = ["Claim", "Placement", "serve_by_weight", "take_up_to"]

Placement = dict[str, dict[str, int]]
"""Topic -> node id -> workers there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A want whose size is reduced to the resources it really takes."""

    topic: str
    weight: float
    minimum: int
    target: int
    size: Size


def serve_by_weight(
    claims: Sequence[Claim],
    targets: Mapping[str, int],
    placed: Placement,
    free: Nodes,
    effort: Effort,
    repacking: Repacking | None = None,
) -> bool:
    """Add to ``placed``, class by class, what is missing to the targets and fits into ``free``; whether somebody was
    moved for it.
    """
    is_repacked = False
    for _, equals in groupby(claims, key=lambda claim: claim.weight):
        classes = [
            (size, [claim.topic for claim in group]) for size, group in groupby(equals, key=lambda claim: claim.size)
        ]
        _serve_equals(classes, targets, placed, free, effort)
        if repacking and repacking.squeeze_in([topic for _, topics in classes for topic in topics if targets[topic]]):
            is_repacked = True
            _serve_equals(classes, targets, placed, free, effort)
    return is_repacked


def _serve_equals(
    classes: Sequence[tuple[Size, Sequence[str]]],
    targets: Mapping[str, int],
    placed: Placement,
    free: Nodes,
    effort: Effort,
) -> None:
    """Smaller sizes first, each less what would take the last places of larger ones' first workers."""
    if _serve_plainly(classes, targets, placed, free):
        return
    for index, (size, topics) in enumerate(classes):
        waiting = [
            (other, topic)
            for other, others in classes[index:]
            for topic in others
            if targets[topic] > 0 and other and not placed[topic]
        ]
        _serve(size, topics, targets, placed, free, waiting, effort)


def _serve_plainly(
    classes: Sequence[tuple[Size, Sequence[str]]], targets: Mapping[str, int], placed: Placement, free: Nodes
) -> bool:
    """One size after the other, where that leaves nobody without a first worker; else nothing, and False.

    With 200 sizes of one weight and room for all it takes a 30th of the time that looking ahead for each of them does.
    """
    rest = {node_id: dict(amounts) for node_id, amounts in free.items()}
    served = []
    for size, topics in classes:
        have = {topic: sum(placed[topic].values()) for topic in topics}
        places = take_up_to(rest, size, sum(targets[topic] - have[topic] for topic in topics))
        extra = _even(have, targets, sum(places.values()))
        if any(targets[topic] and not have[topic] and not extra[topic] for topic in topics):
            return False
        served.append((topics, places, extra))
    free.update(rest)
    for topics, places, extra in served:
        for topic in topics:
            _move_in(placed[topic], places, extra, topic)
    return True


def _serve(
    size: Size,
    topics: Sequence[str],
    targets: Mapping[str, int],
    placed: Placement,
    free: Nodes,
    waiting: Sequence[tuple[Size, str]],
    effort: Effort,
) -> None:
    """Place what is missing of one class, less what would take the last places of others ``waiting`` for a first."""
    have = {topic: sum(placed[topic].values()) for topic in topics}
    missing = sum(targets[topic] - have[topic] for topic in topics)
    others = [first for first in waiting if first[1] not in have]
    places = take_up_to(free, size, missing)
    if others and len(beside := first_places(free, others, effort)) < len(others):
        _give_back(free, size, places)
        possible = firsts_by_turn(free, [first for first in waiting if first[1] in have], others, effort)
        if any(topic in possible and topic not in beside for _, topic in others):
            take_firsts(free, size, placed, waiting, possible, have.keys(), effort)
        places = take_up_to(free, size, missing)
    extra = _even(have, targets, sum(places.values()))
    for topic in topics:
        _move_in(placed[topic], places, extra, topic)


def _give_back(free: Nodes, size: Size, places: Mapping[str, int]) -> None:
    for node_id, count in places.items():
        if size:
            take(free[node_id], size, -count)


def _move_in(placed: dict[str, int], places: dict[str, int], extra: Mapping[str, int], topic: str) -> None:
    """Give the topic its ``extra`` of the class's ``places``."""
    missing = extra[topic]
    for node_id, free in places.items():
        count = min(free, missing)
        if count > 0:
            placed[node_id] = placed.get(node_id, 0) + count
            places[node_id] -= count
            missing -= count


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


def take_up_to(free: Nodes, size: Size, count: int) -> dict[str, int]:
    """Use up to ``count`` places of this size, node by node."""
    if not size:
        return {"": count} if free else {}
    taken: dict[str, int] = {}
    for node_id, amounts in free.items():
        if count <= 0:
            break
        if fitting := min(count, fit_count(amounts, size)):
            take(amounts, size, fitting)
            taken[node_id] = fitting
            count -= fitting
    return taken
