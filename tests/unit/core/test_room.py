from __future__ import annotations

from hermes_ray.core.model import Capacity, Node
from hermes_ray.core.resources import Resources
from hermes_ray.core.room import Room

SMALL, BIG = {"CPU": 0.5}, {"CPU": 2.0}


def node(node_id: str, workers: dict[str, int] | None = None, **amounts: float) -> Node:
    cpus, memory = amounts.pop("cpus", 0.0), amounts.pop("memory", 0.0)
    available = Bundle(num_cpus=cpus, memory_bytes=memory, custom=amounts)
    return Node(node_id=node_id, available=available, workers=workers or {})


def room(*nodes: Node, unplaced: tuple[Resources, ...] = ()) -> Room:
    return Room(Capacity(nodes=nodes), {"small": SMALL, "big": BIG}, unplaced)


def fits(place: Room, bundle: Resources) -> int:
    count = 0
    while count < 100 and place.take(bundle):
        count += 1
    return count


def test_workers_that_live_on_a_node_take_their_room_there() -> None:
    assert fits(room(node("a", {"small": 3}, cpus=4)), SMALL) == 5


def test_one_worker_does_not_span_nodes() -> None:
    assert fits(room(node("a", cpus=1.5), node("b", cpus=1.5)), BIG) == 0
    assert fits(room(node("a", cpus=1.5), node("b", cpus=1.5)), SMALL) == 6


def test_workers_on_their_way_hold_room_before_anybody_new() -> None:
    assert fits(room(node("a", cpus=2), unplaced=(BIG,)), SMALL) == 0
    assert fits(room(node("a", cpus=1), unplaced=(BIG,)), SMALL) == 2, "one that fits nowhere takes nothing away"


def test_every_resource_must_be_there() -> None:
    bundle = Bundle(num_cpus=1, memory_bytes=100, custom={"gpu_slot": 1})
    assert fits(room(node("a", cpus=8, memory=800, gpu_slot=2)), bundle) == 2
    assert fits(room(node("a", cpus=8, memory=99, gpu_slot=2)), bundle) == 0
    assert fits(room(node("a", cpus=8, memory=800)), bundle) == 0


def test_a_worker_that_takes_nothing_always_fits() -> None:
    assert room().take({})
    assert not room().take(SMALL)


def test_tenths_add_up() -> None:
    assert fits(room(node("a", cpus=1)), {"CPU": 0.1}) == 10


def test_a_node_that_is_overfull_has_no_room() -> None:
    assert fits(room(node("a", {"big": 3}, cpus=4), node("b", cpus=1)), SMALL) == 2


def test_workers_of_a_topic_nobody_knows_any_more_are_passed_over() -> None:
    assert fits(room(node("a", {"gone": 3}, cpus=1)), SMALL) == 2
