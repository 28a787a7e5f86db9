"""Moves: who starts where, who makes room, and that nobody moves who need not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermes_ray.core.model import Capacity, Node
from hermes_ray.core.moves import Crew
from hermes_ray.core.placement import plan_moves
from hermes_ray.core.resources import Resources, size_of
from hermes_ray.core.room import ANYWHERE, Room


def cluster(*nodes: Resources) -> Capacity:
    return Capacity(nodes=tuple(Node(node_id=f"n{i}", available=free) for i, free in enumerate(nodes)))


FOUR, ONE = {"CPU": 4}, {"CPU": 1}
TWO_NODES = cluster(FOUR, FOUR)


def crew(
    size: Resources,
    target: int,
    staying: dict[str | None, int] | None = None,
    *,
    held: dict[str | None, int] | None = None,
    is_movable: bool = True,
) -> Crew:
    return Crew(size=size_of(size), target=target, staying=staying or {}, held=held or {}, is_movable=is_movable)


def test_two_light_ones_make_room_for_a_heavy_one_and_start_on_the_other_node() -> None:
    moves = plan_moves({"light": crew(ONE, 4, {"n0": 2, "n1": 2}), "heavy": crew(FOUR, 1)}, TWO_NODES)
    assert moves.drains == {"light": {"n0": 2}}
    assert moves.starts == {"light": ["n1", "n1"]}
    assert moves.waiting == {"heavy": 1}
    assert moves.lacks == {}


def test_living_workers_keep_their_places() -> None:
    crews = {"a": crew(ONE, 2, {"n1": 1, "n2": 1}), "b": crew(ONE, 2, {"n2": 1})}
    two = {"CPU": 2}
    moves = plan_moves(crews, cluster(two, two, two))
    assert (moves.starts, moves.drains, moves.waiting) == ({"b": ["n0"]}, {}, {})


def test_the_same_move_is_not_ordered_again_while_those_drain() -> None:
    draining = Crew(size=size_of(ONE), target=4, staying={"n1": 4}, leaving={"n0": 2})
    moves = plan_moves({"light": draining, "heavy": crew(FOUR, 1)}, TWO_NODES)
    assert (moves.drains, moves.starts, moves.waiting) == ({}, {}, {"heavy": 1})


def test_room_of_those_that_leave_is_free_when_they_are_gone() -> None:
    moves = plan_moves({"light": crew(ONE, 4, {"n1": 4}), "heavy": crew(FOUR, 1)}, TWO_NODES)
    assert moves.starts == {"heavy": ["n0"]}


def test_the_place_of_one_that_waits_is_given_to_nobody() -> None:
    crews = {"light": Crew(size=size_of(ONE), target=6, staying={"n1": 4}, leaving={"n0": 2}), "heavy": crew(FOUR, 1)}
    moves = plan_moves(crews, TWO_NODES)
    assert moves.starts == {}
    assert moves.waiting == {"heavy": 1}
    assert set(moves.lacks) == {"light"}
    assert moves.room.start(size_of(ONE)) is None, "nor to the surge of a roll-out"


def test_surplus_goes_where_it_makes_room() -> None:
    moves = plan_moves({"light": crew(ONE, 2, {"n0": 2, "n1": 2}), "heavy": crew(FOUR, 1)}, TWO_NODES)
    assert moves.drains == {"light": {"n0": 2}}
    assert moves.starts == {}


def test_fewest_move_then_those_with_the_least_in_hand() -> None:
    crews = {"light": crew(ONE, 5, {"n0": 2, "n1": 2, "n2": 1}), "heavy": crew(FOUR, 1)}
    assert plan_moves(crews, cluster(FOUR, FOUR, FOUR)).drains == {"light": {"n2": 1}}
    crews = {"light": crew(ONE, 4, {"n0": 2, "n1": 2}, held={"n0": 9, "n1": 3}), "heavy": crew(FOUR, 1)}
    assert plan_moves(crews, TWO_NODES).drains == {"light": {"n1": 2}}


def test_one_large_worker_moves_rather_than_three_small_ones() -> None:
    crews = {
        "small": crew(ONE, 3, {"n0": 3}),
        "large": crew({"CPU": 3}, 1, {"n1": 1}),
        "heavy": crew(FOUR, 1),
    }
    moves = plan_moves(crews, cluster(FOUR, FOUR, {"CPU": 3}))
    assert moves.drains == {"large": {"n1": 1}}
    assert moves.starts == {"large": ["n2"]}


def test_who_does_not_fit_elsewhere_stays_and_what_is_missing_is_said() -> None:
    crews = {"light": crew(ONE, 6, {"n0": 3, "n1": 3}), "heavy": crew(FOUR, 1)}
    moves = plan_moves(crews, TWO_NODES)
    assert (moves.drains, moves.starts, moves.waiting) == ({}, {}, {})
    assert moves.lacks == {"heavy": "no node for 1 more: 3 CPU short on every node"}


def test_workers_whose_starts_fail_are_not_moved() -> None:
    crews = {"light": crew(ONE, 4, {"n0": 2, "n1": 2}, is_movable=False), "heavy": crew(FOUR, 1)}
    assert plan_moves(crews, TWO_NODES).drains == {}


def test_nobody_moves_where_there_is_room() -> None:
    crews = {"light": crew(ONE, 4, {"n0": 2, "n1": 2}), "heavy": crew(FOUR, 1)}
    moves = plan_moves(crews, cluster(FOUR, FOUR, FOUR))
    assert moves.drains == {}
    assert moves.starts == {"heavy": ["n2"]}


def test_a_worker_that_takes_nothing_starts_anywhere() -> None:
    assert plan_moves({"free": crew({}, 2)}, cluster()).starts == {"free": [ANYWHERE, ANYWHERE]}
    assert Room(cluster()).start(()) == ANYWHERE
    assert Room(cluster()).start(size_of(ONE)) is None


def test_a_worker_somewhere_unknown_holds_room_before_anybody_new() -> None:
    assert plan_moves({"a": crew(ONE, 6, {None: 3})}, cluster(FOUR)).starts == {"a": ["n0"]}
    moves = plan_moves({"big": crew({"CPU": 9}, 1, {None: 1}), "a": crew(ONE, 4)}, cluster(FOUR))
    assert len(moves.starts["a"]) == 4, "one that fits nowhere takes nothing away"


def test_the_smallest_node_comes_first_and_one_with_what_others_need_last() -> None:
    """Whatever others use: as that changed, the order would, and with it who gets what."""
    totals: list[Resources] = [{"CPU": 2, "GPU": 1}, {"CPU": 40}, {"CPU": 8}, {"CPU": 2, "GPU": 1}]
    for used in (0, 1, 2):
        free = [
            {name: amount - used * (name == "CPU" and n == 1) for name, amount in totals[n].items()} for n in range(4)
        ]
        nodes = tuple(Node(node_id=f"n{n}", available=free[n], total=totals[n]) for n in range(4))
        moves = plan_moves({"a": crew(ONE, 50 - used)}, Capacity(nodes=nodes))
        assert moves.starts == {"a": ["n2"] * 8 + ["n1"] * (40 - used) + ["n0"] * 2}


@pytest.mark.parametrize(
    ("gpu", "fitting"), [(0.6, 2), (0.5, 4), (0.4, 4), (0.34, 4), (0.33, 6), (0.25, 8), (1.0, 2), (2.0, 1)]
)
def test_a_part_of_a_device_is_of_one_device(gpu: float, fitting: int) -> None:
    assert len(plan_moves({"a": crew({"GPU": gpu}, 9)}, cluster({"GPU": 2})).starts["a"]) == fitting


def test_every_resource_must_be_there_whatever_its_name() -> None:
    size = {"CPU": 1, "node:10.0.0.1": 0.01, "accelerator_type:T4": 0.001, "GPU": 0.25}
    has = {"CPU": 8, "node:10.0.0.1": 1.0, "accelerator_type:T4": 1.0, "GPU": 1.0}
    assert len(plan_moves({"a": crew(size, 9)}, cluster(has)).starts["a"]) == 4
    for name, amount in size.items():
        less = {key: free for key, free in has.items() if key != name}
        moves = plan_moves({"a": crew(size, 1)}, cluster(less))
        assert moves.lacks == {"a": f"no node for 1 more: {amount:g} {name} short on every node"}


def test_a_node_that_is_overfull_has_no_room() -> None:
    crews = {"a": crew(ONE, 6, {"n0": 6}), "b": crew({"CPU": 0.5}, 9)}
    assert plan_moves(crews, cluster(FOUR, ONE)).starts == {"b": ["n1", "n1"]}


def test_places_that_are_known_are_kept_before_others_are_guessed() -> None:
    crews = {"a": crew(ONE, 2, {None: 2}), "b": crew({"CPU": 3}, 1, {"n0": 1}), "c": crew(FOUR, 1)}
    assert plan_moves(crews, cluster(FOUR, FOUR)).starts == {}, "one of the two is on n1"


def test_fewer_workers_move_even_if_they_hold_more() -> None:
    crews = {"light": crew(ONE, 5, {"n0": 2, "n1": 3}, held={"n0": 90, "n1": 1}), "heavy": crew(FOUR, 1)}
    assert plan_moves(crews, cluster(FOUR, FOUR, FOUR, ONE)).drains == {}
    assert plan_moves(crews, cluster(FOUR, FOUR, {"CPU": 2})).drains == {"light": {"n0": 2}}


def test_room_that_somebody_makes_is_there_for_those_that_were_refused_before() -> None:
    """Three heavy ones: the third finds on n0 what the second's search had found full."""
    room = Room(cluster(FOUR, FOUR))
    room.hold((("CPU", 40_000),), "n0", 1, is_staying=True)
    assert [room.wait((("CPU", 40_000),)) for _ in range(2)] == ["n1", None]
    room.will_leave((("CPU", 40_000),), "n0")
    assert room.wait((("CPU", 40_000),)) == "n0"


def test_what_a_look_had_no_time_to_make_room_for_is_not_called_impossible() -> None:
    crews = {"light": crew(ONE, 80, {f"n{n}": 2 for n in range(40)}), "heavy": crew(FOUR, 20)}
    moves = plan_moves(crews, cluster(*[FOUR] * 40))
    assert moves.lacks == {}
    assert 0 < moves.waiting["heavy"] < 20
    assert moves.unsearched == {"heavy": f"no node for {20 - moves.waiting['heavy']} more: 2 CPU short on every node"}


def test_who_has_no_home_elsewhere_stays_and_a_smaller_one_moves() -> None:
    crews = {"heavy": crew({"CPU": 2}, 1), "x": crew({"CPU": 2}, 1, {"n0": 1}), "y": crew(ONE, 1, {"n0": 1})}
    moves = plan_moves(crews, cluster(FOUR, ONE))
    assert (moves.drains, moves.starts, moves.waiting) == ({"y": {"n0": 1}}, {"y": ["n1"]}, {"heavy": 1})


def test_where_the_largest_find_no_home_side_by_side_smaller_ones_move() -> None:
    crews = {
        "heavy": crew({"CPU": 3}, 1),
        "p": crew({"CPU": 2}, 1, {"n0": 1}),
        "q": crew({"CPU": 2}, 1, {"n0": 1}),
        "r": crew(ONE, 1, {"n0": 1}),
    }
    moves = plan_moves(crews, cluster({"CPU": 5}, {"CPU": 2}, ONE))
    assert (moves.drains, moves.waiting) == ({"r": {"n0": 1}, "p": {"n0": 1}}, {"heavy": 1})


def test_for_one_that_presses_a_lighter_one_leaves_and_does_not_come_back_first() -> None:
    stuck = crew(ONE, 2, {"n1": 2}, is_movable=False)
    heavy = Crew(size=size_of({"CPU": 2}), target=1, weight=100.0)
    light = crew({"CPU": 3}, 1, {"n0": 1})
    nodes = cluster(FOUR, {"CPU": 3})
    assert plan_moves({"stuck": stuck, "heavy": heavy, "light": light}, nodes).drains == {}
    moves = plan_moves({"stuck": stuck, "heavy": heavy, "light": light}, nodes, {"heavy": False})
    assert (moves.drains, moves.waiting) == ({"light": {"n0": 1}}, {"heavy": 1})
    leaving = Crew(size=light.size, target=1, leaving={"n0": 1})
    moves = plan_moves({"stuck": stuck, "heavy": heavy, "light": leaving}, nodes, {"heavy": False})
    assert (moves.waiting, list(moves.lacks)) == ({"heavy": 1}, ["light"])
    back = plan_moves(
        {"stuck": stuck, "heavy": replace(heavy, staying={"n0": 1}), "light": leaving}, nodes, {"light": False}
    )
    assert back.drains == {}


@pytest.mark.parametrize(("minimum", "weight", "goes"), [(0, 1.0, True), (1, 1.0, False), (0, 9.0, False)])
def test_what_presses_takes_nothing_from_a_minimum_or_an_equal(minimum: int, weight: float, goes: bool) -> None:
    other = Crew(size=size_of({"CPU": 3}), target=1, staying={"n0": 1}, weight=weight, minimum=minimum)
    heavy = Crew(size=size_of({"CPU": 2}), target=1, weight=9.0)
    moves = plan_moves({"other": other, "heavy": heavy}, cluster(FOUR), {"heavy": False})
    assert bool(moves.drains) is goes


def test_who_might_not_come_back_leaves_for_one_that_has_pressed_for_very_long_alone() -> None:
    stuck = crew({"CPU": 3}, 1, {"n0": 1}, is_movable=False)
    heavy = Crew(size=size_of({"CPU": 2}), target=1, weight=9.0)
    crews = {"stuck": stuck, "heavy": heavy}
    assert plan_moves(crews, cluster(FOUR), {"heavy": False}).drains == {}
    assert plan_moves(crews, cluster(FOUR), {"heavy": True}).drains == {"stuck": {"n0": 1}}
