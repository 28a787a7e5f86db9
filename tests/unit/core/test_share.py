"""What topics get while an apply changes what their workers take."""

from __future__ import annotations

import pytest

from hermes_ray.core.model import Capacity, Node, TopicParams
from hermes_ray.core.share import share


@pytest.mark.parametrize("weight", [1.0, 5.0])
def test_who_has_no_place_since_another_keeps_its_old_workers_keeps_its_own(weight: float) -> None:
    """Of 3 CPUs ``big`` has 2 and ``small`` 1; then they want 4, which is nowhere, and 2, which alone would fit."""
    capacity = Capacity(nodes=(Node(node_id="n0", available={"CPU": 3.0}),))
    big = TopicParams(topic="big", weight=weight, worker={"CPU": 4.0})
    both = {"big": big, "small": TopicParams(topic="small", worker={"CPU": 2.0})}
    former = {"big": [({"CPU": 2.0}, 1)], "small": [({"CPU": 1.0}, 1)]}
    got = share({"big": 1, "small": 1}, both, capacity, former)
    assert {topic: (of.granted, of.is_kept) for topic, of in got.items()} == {"big": (1, True), "small": (1, True)}


def test_one_that_is_made_larger_takes_no_place_of_an_unchanged_equal() -> None:
    """One of 4 CPUs would fill the node where three of 1 CPU work beside its old one."""
    capacity = Capacity(nodes=(Node(node_id="n0", available={"CPU": 4.0}),))
    both = {
        "big": TopicParams(topic="big", worker={"CPU": 4.0}),
        "small": TopicParams(topic="small", worker={"CPU": 1.0}),
    }
    got = share({"big": 1, "small": 3}, both, capacity, {"big": [({"CPU": 1.0}, 1)]})
    assert {topic: (of.granted, of.is_kept) for topic, of in got.items()} == {"big": (1, True), "small": (3, False)}


def test_a_topic_whose_workers_do_not_start_keeps_a_place_for_its_next_try_beside_an_equal() -> None:
    both = {
        "large": TopicParams(topic="large", workers_max=2, worker={"CPU": 4.0}),
        "small": TopicParams(topic="small", workers_min=1, workers_max=3, worker={"CPU": 3.0}),
    }
    capacity = Capacity(nodes=(Node(node_id="a", available={"CPU": 4.0}), Node(node_id="b", available={"CPU": 3.0})))
    got = share({"large": 2, "small": 3}, both, capacity, startable={"large": 1})
    assert {topic: each.granted for topic, each in got.items()} == {"large": 1, "small": 1}
    assert got["large"].lack == "4 CPU short on every node"


def test_what_cannot_start_has_what_nobody_else_wants() -> None:
    both = {
        topic: TopicParams(topic=topic, weight=weight, worker={"CPU": 1.0})
        for topic, weight in (("heavy", 10.0), ("light", 1.0))
    }
    capacity = Capacity(nodes=(Node(node_id="a", available={"CPU": 8.0}),))
    got = share({"heavy": 8, "light": 3}, both, capacity, startable={"heavy": 2})
    assert {topic: each.granted for topic, each in got.items()} == {"heavy": 5, "light": 3}
