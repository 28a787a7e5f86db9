"""A place for who got none: others are packed otherwise, and lose nothing by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hermes_ray.core.firsts import Nodes
from hermes_ray.core.model import Capacity
from hermes_ray.core.placement import Crew, plan_moves
from hermes_ray.core.resources import Size

__all__ = ["squeeze_in"]

_MOST_REPACKINGS = 4  # each looks at all nodes


def squeeze_in(
    left_out: Sequence[Collection[str]],
    sizes: Mapping[str, Size],
    placed: Mapping[str, dict[str, int]],
    capacity: Capacity,
) -> Nodes:
    """Add to ``placed`` a first worker for each topic of ``left_out``, group by group, where moves make room for it.

    Two nodes of 4 CPUs and a GPU: four workers of 1 CPU fill the first one and a GPU worker is on the other; one of the
    four goes there, and a second GPU worker has its place. Returns what is free then. With more than four groups the
    last ones are left out.
    """
    free: Nodes = {}
    for topics in left_out[:_MOST_REPACKINGS]:
        crews = {topic: _crew(size, placed[topic], topic in topics) for topic, size in sizes.items()}
        moves = plan_moves(crews, capacity)
        for topic, drains in moves.drains.items():
            for node_id, count in drains.items():
                placed[topic][node_id] -= count
        for topic, node_ids in moves.places.items():
            for node_id in node_ids:
                placed[topic][node_id] = placed[topic].get(node_id, 0) + 1
        free = moves.room.later
    return free


def _crew(size: Size, here: Mapping[str, int], is_one_more: bool) -> Crew:
    staying: dict[str | None, int] = {node_id: count for node_id, count in here.items() if count}
    return Crew(size=size, target=sum(staying.values()) + is_one_more, staying=staying)
