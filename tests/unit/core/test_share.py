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
