"""Moves, played on: no node is ever overfull, and where a grant can come to be without a word of a lack, it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

from hermes_ray.core.allocate import Want, allocate
from hermes_ray.core.model import Capacity, Node
from hermes_ray.core.moves import Crew
from hermes_ray.core.placement import plan_moves
from hermes_ray.core.resources import Resources, fit_count, free_of, size_of, take

SIZES: dict[str, Resources] = {
    "a": {"CPU": 0.5},
    "b": {"CPU": 1.0, "memory": 1.0},
    "c": {"CPU": 2.0},
    "d": {"CPU": 3.0, "memory": 2.0},
}
NODES = st.lists(st.fixed_dictionaries({"CPU": st.integers(1, 6), "memory": st.integers(0, 4)}), min_size=1, max_size=4)
TARGETS = st.fixed_dictionaries({topic: st.integers(0, 5) for topic in SIZES})


class World:
    """Workers by topic and node; those that are told to drain are gone after the next look."""

    def __init__(
        self,
        nodes: list[dict[str, int]],
        sizes: Mapping[str, Resources] = SIZES,
        minimums: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.sizes, self.minimums = sizes, minimums
        self.capacity = Capacity(nodes=tuple(Node(node_id=f"n{i}", available=free) for i, free in enumerate(nodes)))
        self.staying: dict[str, Counter[str | None]] = {topic: Counter() for topic in self.sizes}
        self.leaving: dict[str, Counter[str | None]] = {topic: Counter() for topic in self.sizes}
        self.order_count = 0

    def look(self, targets: dict[str, int]) -> bool:
        """One round; whether something is said to be lacking."""
        wants = [
            Want(topic=t, weight=1.0, minimum=self.minimums.get(t, 0), target=n, size=self.sizes[t])
            for t, n in targets.items()
        ]
        grants = allocate(wants, self.capacity)
        crews = {
            topic: Crew(
                size=size_of(self.sizes[topic]), target=n, staying=+self.staying[topic], leaving=+self.leaving[topic]
            )
            for topic, n in grants.items()
        }
        moves = plan_moves(crews, self.capacity)
        gone, self.leaving = self.leaving, {topic: Counter() for topic in self.sizes}
        for topic, drains in moves.drains.items():
            self._drain(topic, Counter(drains))
        for topic, nodes in moves.starts.items():
            self.staying[topic].update(nodes)
            self.order_count += len(nodes)
        for topic, count in grants.items():
            surplus = sum(self.staying[topic].values()) - count
            self._drain(topic, Counter(sorted(map(str, self.staying[topic].elements()))[: max(0, surplus)]))
        for node in self.capacity.nodes:
            free = free_of(node.available)
            for topic, size in self.sizes.items():
                everybody = (
                    self.staying[topic][node.node_id] + self.leaving[topic][node.node_id] + gone[topic][node.node_id]
                )
                take(free, size_of(size), everybody)
            assert min(free.values()) >= 0, "those that leave hold their room until they are gone"
        self.is_there = all(sum(self.staying[topic].values()) == count for topic, count in grants.items())
        return bool(moves.lacks)

    def _drain(self, topic: str, workers: Counter[str | None]) -> None:
        self.staying[topic] -= workers
        self.leaving[topic] += workers
        self.order_count += sum(workers.values())


@given(NODES, st.lists(TARGETS, min_size=1, max_size=4))
def test_what_is_granted_comes_to_be_or_says_why_not_and_then_rests(
    nodes: list[dict[str, int]], episodes: list[dict[str, int]]
) -> None:
    world = World(nodes)
    for targets in episodes:
        is_lacking = [world.look(targets) for _ in range(12)][-1]
        assert world.is_there or is_lacking
        before = world.order_count
        for _ in range(5):
            world.look(targets)
        assert world.order_count == before, "nobody moves to and fro"


def test_equals_that_take_several_resources_come_to_rest() -> None:
    """Grants that depended on who lives where led to each other here: workers came and went every second look."""
    sizes: dict[str, Resources] = {"a": {"CPU": 4, "GPU": 1}, "b": {"GPU": 1}, "c": {"CPU": 1}}
    world, targets = World([{"CPU": 4, "GPU": 1}] * 2, sizes, {"c": 1}), {"a": 1, "b": 2, "c": 2}
    for _ in range(12):
        world.look(targets)
    before = world.order_count
    for _ in range(50):
        world.look(targets)
    assert world.order_count == before


@given(NODES, TARGETS)
def test_a_place_that_is_ordered_has_room(nodes: list[dict[str, int]], targets: dict[str, int]) -> None:
    capacity = Capacity(nodes=tuple(Node(node_id=f"n{i}", available=free) for i, free in enumerate(nodes)))
    crews = {topic: Crew(size=size_of(SIZES[topic]), target=count) for topic, count in targets.items()}
    free = {node.node_id: free_of(node.available) for node in capacity.nodes}
    for topic, node_ids in plan_moves(crews, capacity).starts.items():
        for node_id in node_ids:
            assert fit_count(free[node_id], size_of(SIZES[topic]))
            take(free[node_id], size_of(SIZES[topic]))
