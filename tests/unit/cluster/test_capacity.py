"""What of the cluster is left for our workers, by what Ray says of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from hermes_ray.cluster import capacity as module
from hermes_ray.cluster.capacity import ClusterView
from hermes_ray.core.model import Capacity

SIZE = {"CPU": 1.0}
Amounts = Mapping[str, float]


@dataclass
class FakeRay:
    """Nodes of 8 CPUs and 100 bytes; ``free`` is what Ray says is free of them."""

    free: dict[str, dict[str, float]] = field(default_factory=lambda: {"a": {"CPU": 8.0, "memory": 100.0}})
    draining: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    error: Exception | None = None

    def nodes(self) -> list[dict[str, Any]]:
        if self.error is not None:
            raise self.error
        total = {"CPU": 8.0, "memory": 100.0, "GPU": 2.0, "node:10.0.0.1": 1.0}
        return [{"NodeID": node, "Alive": node not in self.dead, "Resources": total} for node in self.free]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr(module, "ray", fake)
    monkeypatch.setattr(module, "draining_nodes", lambda: fake.draining)
    monkeypatch.setattr(module, "free_by_node", lambda: fake.free)
    return fake


def cpus(capacity: Capacity | None) -> dict[str, float]:
    """The CPUs that are left, by node."""
    assert capacity is not None
    return {node.node_id: node.available["CPU"] for node in capacity.nodes}


def look(
    view: ClusterView, now_s: float, *, ours: Mapping[str, Amounts] | None = None, unplaced: tuple[Amounts, ...] = ()
) -> dict[str, float]:
    return cpus(view.capacity(ours or {}, unplaced, [SIZE], now_s))


def test_what_our_own_workers_take_is_ours_to_use_and_what_others_take_is_not(ray: FakeRay) -> None:
    ray.free["a"]["CPU"] = 3.0  # 5 in use
    assert look(ClusterView(), 0.0, ours={"a": {"CPU": 4.0}}) == {"a": 7.0}
    assert look(ClusterView(), 0.0) == {"a": 3.0}


def test_what_others_use_is_the_least_of_the_last_five_seconds(ray: FakeRay) -> None:
    view = ClusterView()
    left = []
    for second, free in enumerate((8.0, 2.0, 6.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)):
        ray.free["a"]["CPU"] = free
        left.append(look(view, float(second))["a"])
    assert left == [8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 6.0, 6.0, 2.0]


def test_a_worker_whose_node_is_not_known_is_taken_off_one_node_that_has_as_much_in_use(ray: FakeRay) -> None:
    ray.free = {"a": {"CPU": 7.5}, "b": {"CPU": 6.0}, "c": {"CPU": 6.0}}
    assert look(ClusterView(), 0.0, unplaced=(SIZE,)) == {"a": 7.5, "b": 7.0, "c": 6.0}
    assert look(ClusterView(), 0.0, unplaced=(SIZE, SIZE, SIZE)) == {"a": 7.5, "b": 8.0, "c": 7.0}
    elsewhere = {"CPU": 1.0, "memory": 101.0}
    assert look(ClusterView(), 0.0, unplaced=(elsewhere,)) == {"a": 7.5, "b": 6.0, "c": 6.0}


def test_a_node_that_is_drained_or_dead_takes_nobody(ray: FakeRay) -> None:
    ray.free = {node: {"CPU": 8.0} for node in "abc"}
    ray.draining, ray.dead = {"b"}, {"c"}
    capacity = ClusterView().capacity({}, (), [SIZE], 0.0)
    assert cpus(capacity) == {"a": 8.0}
    assert capacity is not None
    assert capacity.draining == {"b"}


def test_resources_count_that_workers_take_and_cpus_and_memory_always(ray: FakeRay) -> None:
    ray.free = {"a": {"CPU": 8.0, "memory": 100.0, "GPU": 1.5}}
    plain = ClusterView().capacity({}, (), [{}], 0.0)
    with_gpus = ClusterView().capacity({}, (), [{"GPU": 0.5}, {"TPU": 1.0}], 0.0)
    assert plain is not None
    assert with_gpus is not None
    assert plain.nodes[0].available == {"CPU": 8.0, "memory": 100.0}
    assert with_gpus.nodes[0].available == {"CPU": 8.0, "memory": 100.0, "GPU": 1.5}


def test_what_living_workers_hold_counts_too_where_no_new_one_takes_it(ray: FakeRay) -> None:
    ray.free["a"] = {"CPU": 7.0, "GPU": 0.0, "memory": 100.0}
    capacity = ClusterView().capacity({"a": {"CPU": 1.0, "GPU": 2.0}}, [], [SIZE], 0.0)
    assert capacity is not None
    assert capacity.nodes[0].available["GPU"] == 2.0


def test_where_ray_does_not_answer_the_room_is_unknown(ray: FakeRay) -> None:
    ray.error = ConnectionError("the head is away")
    assert ClusterView().capacity({}, (), [SIZE], 0.0) is None
