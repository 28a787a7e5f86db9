"""A place for who got none: others are packed otherwise, and lose nothing by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hermes_ray.core.firsts import Nodes, is_enough
from hermes_ray.core.model import Capacity
from hermes_ray.core.moves import Crew
from hermes_ray.core.placement import plan_moves
from hermes_ray.core.resources import Free, Size, fit_count, free_of, take, total_of

__all__ = ["Repacking"]

_MOST_REPACKINGS = 4  # each looks at all nodes


class Repacking:
    """Changes ``placed``, topic -> node id -> workers, so that more fits, and ``free`` with it.

    ``sizes``: what a worker of each topic takes that takes something. Only the first four times that it may help others
    are moved.
    """

    def __init__(
        self, sizes: Mapping[str, Size], placed: Mapping[str, dict[str, int]], free: Nodes, capacity: Capacity
    ) -> None:
        self._sizes, self._placed, self._free, self._capacity = sizes, placed, free, capacity
        self._left = _MOST_REPACKINGS
        self._totals = total_of(free.values())
        self._counts = {topic: sum(placed[topic].values()) for topic in sizes}
        self._hopeless: dict[Size, bool] = {}  # sizes that no node holds, empty or not
        self._whole: list[Free] = []

    def squeeze_in(self, topics: Collection[str]) -> bool:
        """A first worker for each of ``topics`` that got none, where moves make room for it; whether they were tried.

        Two nodes of 4 CPUs and a GPU: four workers of 1 CPU fill the first one and a GPU worker is on the other; one of
        the four goes there, and a second GPU worker has its place.
        """
        if not self._left:
            return False
        sized = [topic for topic in topics if topic in self._sizes]
        self._note(sized)
        left_out = [topic for topic in sized if not self._counts[topic] and self._may_fit(topic)]
        if not left_out:
            return False
        self._left -= 1
        crews = {topic: self._crew(topic, topic in left_out) for topic in self._sizes}
        moves = plan_moves(crews, self._capacity)
        for topic, drains in moves.drains.items():
            for node_id, count in drains.items():
                self._placed[topic][node_id] -= count
        for topic, node_ids in moves.places.items():
            for node_id in node_ids:
                self._placed[topic][node_id] = self._placed[topic].get(node_id, 0) + 1
        self._free.update(moves.room.later)
        self._note(left_out)
        return True

    def _note(self, topics: Collection[str]) -> None:
        """Keep the sum of what is free: to add up all nodes for each of a thousand topics takes too long."""
        for topic in topics:
            count = sum(self._placed[topic].values())
            take(self._totals, self._sizes[topic], count - self._counts[topic])
            self._counts[topic] = count

    def _may_fit(self, topic: str) -> bool:
        """Whether there is enough in sum, and a node of its size."""
        size = self._sizes[topic]
        if not is_enough(self._totals, [(size, topic)]):
            return False
        if size not in self._hopeless:
            self._whole = self._whole or [free_of(node.available) for node in self._capacity.nodes]
            self._hopeless[size] = not any(fit_count(amounts, size) for amounts in self._whole)
        return not self._hopeless[size]

    def _crew(self, topic: str, is_one_more: bool) -> Crew:
        staying: dict[str | None, int] = {node_id: n for node_id, n in self._placed[topic].items() if n}
        return Crew(size=self._sizes[topic], target=sum(staying.values()) + is_one_more, staying=staying)
