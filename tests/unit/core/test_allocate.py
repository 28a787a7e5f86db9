"""Who gets how many workers, in clusters small enough to count on paper."""

from __future__ import annotations

import pytest

from hermes_ray.core.allocate import Want, allocate, allot
from hermes_ray.core.model import Capacity, Node


def test_a_heavy_topic_gets_all_but_the_minimum_of_a_light_one() -> None:
    size = {"CPU": 0.25}
    wants = [
        Want(topic="heavy", weight=10, minimum=0, target=8, size=size),
        Want(topic="light", weight=1, minimum=1, target=8, size=size),
    ]
    node = Node(node_id="n", available={"CPU": 2.0})
    assert allocate(wants, Capacity(nodes=(node,))) == {"heavy": 7, "light": 1}


def test_one_impossible_minimum_does_not_hold_back_the_others() -> None:
    wants = [
        Want(topic="gpu", weight=1, minimum=3, target=5, size={"gpu": 1.0}),
        Want(topic="cpu", weight=1, minimum=1, target=5, size={"CPU": 1.0}),
    ]
    capacity = Capacity(nodes=(Node(node_id="n", available={"CPU": 4.0}),))
    assert allocate(wants, capacity) == {"gpu": 0, "cpu": 4}


def test_in_a_cluster_too_small_for_the_minimums_they_alone_are_served_the_heaviest_first() -> None:
    size = {"CPU": 1.0}
    wants = [Want(topic=t, weight=w, minimum=3, target=9, size=size) for t, w in (("a", 1), ("b", 2), ("c", 1))]
    capacity = Capacity(nodes=(Node(node_id="n", available={"CPU": 5.0}),))
    assert allocate(wants, capacity) == {"a": 1, "b": 3, "c": 1}


def test_where_not_all_minimums_fit_what_none_of_the_others_fits_goes_on() -> None:
    gpu = {"GPU": 1.0}
    wants = [
        Want(topic="a", weight=1, minimum=1, target=1, size=gpu),
        Want(topic="b", weight=1, minimum=1, target=1, size=gpu),
        Want(topic="c", weight=10, minimum=0, target=50, size={"CPU": 1.0}),
    ]
    capacity = Capacity(nodes=(Node(node_id="n", available={"CPU": 1_000.0, "GPU": 1.0}),))
    assert allocate(wants, capacity) == {"a": 1, "b": 0, "c": 50}


def test_a_topic_that_fits_nowhere_takes_no_place_from_the_first_of_another() -> None:
    wants = [
        Want(topic="light", weight=1, minimum=2, target=2, size={"CPU": 1.0}),
        Want(topic="heavy", weight=10, minimum=0, target=1, size={"CPU": 2.0}),
        Want(topic="nowhere", weight=1, minimum=0, target=1, size={"CPU": 9.0}),
    ]
    nodes = tuple(Node(node_id=f"n{i}", available={"CPU": cpus}) for i, cpus in enumerate((3.0, 1.0)))
    assert allocate(wants, Capacity(nodes=nodes)) == {"light": 2, "heavy": 1, "nowhere": 0}


@pytest.mark.parametrize("names", [("n0", "n1"), ("n1", "n0")])
def test_a_lighter_topic_has_its_first_where_a_heavier_one_can_be_packed_otherwise(names: tuple[str, str]) -> None:
    both = {"CPU": 4.0, "GPU": 1.0}
    nodes = tuple(Node(node_id=name, available=both, total=both) for name in names)
    gpu = {"CPU": 1.0, "GPU": 1.0}
    wants = [
        Want(topic="cpu", weight=2, minimum=0, target=4, size={"CPU": 1.0}),
        Want(topic="g1", weight=1, minimum=0, target=1, size=gpu),
        Want(topic="g2", weight=1, minimum=0, target=3, size=gpu),
    ]
    shared = allot(wants, Capacity(nodes=nodes))
    assert [shared.grant(topic) for topic in ("cpu", "g1", "g2")] == [4, 1, 1]
    for name in names:
        here = {topic: where.get(name, 0) for topic, where in shared.placement.items()}
        assert sum(here.values()) <= 4
        assert here["g1"] + here["g2"] <= 1
    full = [*wants, Want(topic="heavy", weight=3, minimum=0, target=9, size={"CPU": 1.0})]
    assert allocate(full, Capacity(nodes=nodes)) == {"heavy": 8, "cpu": 0, "g1": 0, "g2": 0}


def test_the_first_of_a_heavier_topic_has_its_place_before_the_extras_of_lighter_ones() -> None:
    """Minimums of ``mid`` stand on both nodes where one would hold them: they are packed before it has a third."""
    nodes = tuple(Node(node_id=f"n{n}", available={"CPU": cpus}, total={"CPU": cpus}) for n, cpus in enumerate((4, 6)))
    heavy = Want(topic="heavy", weight=5, minimum=0, target=1, size={"CPU": 4})
    mid = Want(topic="mid", weight=1, minimum=2, target=3, size={"CPU": 3})
    low = Want(topic="low", weight=0.1, minimum=0, target=1, size={"CPU": 1})
    assert allocate([heavy, mid], Capacity(nodes=nodes)) == {"heavy": 1, "mid": 2}
    assert allocate([heavy, mid, low], Capacity(nodes=nodes)) == {"heavy": 1, "mid": 2, "low": 0}


def test_of_equals_whose_firsts_do_not_fit_side_by_side_the_smaller_has_its_own() -> None:
    nodes = (Node(node_id="n0", available={"CPU": 4.0}),)
    large = Want(topic="large", weight=1, minimum=0, target=1, size={"CPU": 4})
    small = Want(topic="small", weight=1, minimum=0, target=3, size={"CPU": 1})
    assert allocate([large, small], Capacity(nodes=nodes)) == {"large": 0, "small": 3}
