from __future__ import annotations

import timeit
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_ray.core.allocate import Placement, Want, allocate, allot
from hermes_ray.core.model import Capacity, Node

TOPICS = tuple("abcdef")
SIZES = st.fixed_dictionaries(
    {
        "CPU": st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0]),
        "memory": st.sampled_from([0.0, 0.0, 1e9, 3e9]),
        "GPU": st.sampled_from([0.0, 0.0, 0.0, 1.0]),
        "node:10.0.0.1": st.sampled_from([0.0, 0.0, 0.0, 0.3]),
    }
)
NODES = st.lists(
    st.fixed_dictionaries(
        {
            "CPU": st.sampled_from([0.0, 0.3, 1.0, 2.5, 4.0, 8.0]),
            "memory": st.sampled_from([0.0, 2e9, 7e9]),
            "GPU": st.sampled_from([0.0, 1.0, 2.0]),
            "node:10.0.0.1": st.sampled_from([0.0, 0.9]),
        }
    ),
    max_size=4,
)


@st.composite
def _clusters(draw: st.DrawFn) -> Capacity:
    nodes = draw(NODES)
    return Capacity(nodes=tuple(Node(node_id=f"n{i}", available=free) for i, free in enumerate(nodes)))


@st.composite
def _wants(draw: st.DrawFn) -> list[Want]:
    wants = []
    for topic in draw(st.permutations(TOPICS))[: draw(st.integers(1, len(TOPICS)))]:
        target = draw(st.integers(0, 12))
        minimum = draw(st.sampled_from([0, 0, 1, 2, target]))
        weight = draw(st.sampled_from([0.5, 1.0, 1.0, 2.0, 10.0]))
        wants.append(Want(topic=topic, weight=weight, minimum=min(minimum, target), target=target, size=draw(SIZES)))
    return wants


def _used(placement: Placement, wants: list[Want], node_id: str, name: str) -> float:
    return sum(placement[want.topic].get(node_id, 0) * want.size.get(name, 0.0) for want in wants)


def _fit_together(wants: list[Want], capacity: Capacity) -> bool:
    """Whether all the minimums fit."""
    granted = allocate([replace(want, target=want.minimum) for want in wants], capacity)
    return all(granted[want.topic] == want.minimum for want in wants)


def _alone(want: Want, capacity: Capacity) -> int:
    return allocate([replace(want, minimum=0)], capacity)[want.topic]


@given(_wants(), _clusters())
def test_no_node_holds_more_than_it_has(wants: list[Want], capacity: Capacity) -> None:
    placement = allot(wants, capacity).placement
    for node in capacity.nodes:
        for name, has in node.available.items():
            assert _used(placement, wants, node.node_id, name) <= has * (1 + 1e-9) + 1e-9


@given(_wants(), _clusters())
def test_a_placement_names_real_nodes_unless_a_worker_takes_nothing(wants: list[Want], capacity: Capacity) -> None:
    real = {node.node_id for node in capacity.nodes}
    for want in wants:
        if any(want.size.values()):
            assert set(allot(wants, capacity).placement[want.topic]) <= real


@given(_wants(), _clusters())
def test_grants_stay_between_minimum_and_target_where_the_minimums_fit(wants: list[Want], capacity: Capacity) -> None:
    grants = allocate(wants, capacity)
    all_fit = _fit_together(wants, capacity)
    for want in wants:
        assert 0 <= grants[want.topic] <= want.target
        if all_fit:
            assert grants[want.topic] >= want.minimum


@given(_wants(), _clusters())
def test_workers_that_take_nothing_always_get_their_target(wants: list[Want], capacity: Capacity) -> None:
    wants[0] = replace(wants[0], size={}, minimum=0)
    if capacity.nodes:
        assert allocate(wants, capacity)[wants[0].topic] == wants[0].target


@given(_wants(), _clusters(), st.integers(0, 5), st.sampled_from([0.75, 1.0, 2.0, 5.0, 10.0, 99.0]))
def test_raising_a_weight_never_lowers_the_grant_but_for_the_first_worker_of_a_new_equal(
    wants: list[Want], capacity: Capacity, which: int, weight: float
) -> None:
    if not _fit_together(wants, capacity):
        wants = [replace(want, minimum=0) for want in wants]
    want = wants[which % len(wants)]
    raised = [replace(w, weight=max(weight, w.weight)) if w is want else w for w in wants]
    before, after = allocate(wants, capacity), allocate(raised, capacity)
    new = next(w for w in raised if w.topic == want.topic)
    has_first_now = [
        w for w in raised if w.weight == new.weight and w is not new and after[w.topic] > before[w.topic] == 0
    ]
    assert after[want.topic] >= before[want.topic] or has_first_now


@given(_wants(), _clusters(), st.floats(1.01, 100.0))
def test_of_two_like_topics_the_heavier_never_gets_less(wants: list[Want], capacity: Capacity, factor: float) -> None:
    twin = replace(wants[0], topic="twin", weight=wants[0].weight * factor)
    grants = allocate([*wants, twin], capacity)
    assert grants["twin"] >= grants[wants[0].topic]


@given(_wants(), _clusters())
def test_like_topics_of_one_weight_differ_by_one_worker_at_most(wants: list[Want], capacity: Capacity) -> None:
    twin = replace(wants[0], topic="twin")
    grants = allocate([*wants, twin], capacity)
    assert abs(grants["twin"] - grants[wants[0].topic]) <= 1


@given(_wants(), _clusters(), st.randoms())
def test_the_order_of_topics_and_nodes_does_not_matter(wants: list[Want], capacity: Capacity, random: object) -> None:
    shuffled, nodes = list(wants), list(capacity.nodes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    random.shuffle(nodes)  # type: ignore[attr-defined]
    assert allot(shuffled, Capacity(nodes=tuple(nodes))).placement == allot(wants, capacity).placement


@given(_wants(), _clusters())
def test_the_heaviest_gets_all_that_fits_beside_the_minimums(wants: list[Want], capacity: Capacity) -> None:
    king = replace(wants[0], weight=1_000.0)
    others = [replace(want, minimum=0) for want in wants[1:]]
    assert allocate([king, *others], capacity)[king.topic] == _alone(king, capacity)


def test_twenty_topics_on_a_hundred_nodes_take_less_than_fifty_milliseconds() -> None:
    nodes = tuple(Node(node_id=f"n{i:03}", available={"CPU": 5.0, "memory": 64e9}) for i in range(100))
    wants = [
        Want(
            topic=f"t{i}",
            weight=i % 5 + 1,
            minimum=2,
            target=150,
            size={"CPU": 0.25, "memory": 1e8 * (i % 3)},
        )
        for i in range(20)
    ]
    assert sum(allocate(wants, Capacity(nodes=nodes)).values()) == 2_000
    assert min(timeit.repeat(lambda: allocate(wants, Capacity(nodes=nodes)), number=1, repeat=5)) < 0.05


def test_a_million_million_workers_that_take_nothing_are_shared_at_once() -> None:
    wants = [
        Want(topic=topic, weight=1.0, minimum=0, target=target, size={})
        for topic, target in (("a", 10**12), ("b", 10**12), ("c", 3))
    ]
    somewhere = Capacity(nodes=(Node(node_id="n", available={}),))
    assert allocate(wants, somewhere) == {"a": 10**12, "b": 10**12, "c": 3}
    assert allocate(wants, Capacity(nodes=())) == {"a": 0, "b": 0, "c": 0}, "where there is no node there is nobody"


@given(
    st.dictionaries(st.sampled_from(TOPICS), st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1),
    st.integers(0, 60),
)
def test_equals_are_filled_from_the_least_up(minimum_and_more: dict[str, tuple[int, int]], rooms: int) -> None:
    one = {"CPU": 1.0}
    wants = [
        Want(topic=topic, weight=1.0, minimum=minimum, target=minimum + more, size=one)
        for topic, (minimum, more) in minimum_and_more.items()
    ]
    floor = sum(want.minimum for want in wants)
    granted = allocate(wants, Capacity(nodes=(Node(node_id="n", available={"CPU": float(floor + rooms)}),)))
    assert sum(granted.values()) == min(floor + rooms, sum(want.target for want in wants))
    served = [want for want in wants if granted[want.topic] > want.minimum]
    for want in wants:
        if granted[want.topic] < want.target:
            assert all((granted[other.topic] - 1, other.topic) < (granted[want.topic], want.topic) for other in served)


def test_the_first_worker_of_a_large_topic_comes_before_the_extras_of_a_small_one_of_the_same_weight() -> None:
    wants = [
        Want(topic="small", weight=1.0, minimum=0, target=32, size={"CPU": 0.25}),
        Want(topic="large", weight=1.0, minimum=0, target=5, size={"CPU": 1.0}),
    ]
    eight = Capacity(nodes=(Node(node_id="n", available={"CPU": 8.0}),))
    assert allocate(wants, eight) == {"small": 28, "large": 1}
    heavier = [replace(wants[0], weight=2.0), wants[1]]
    assert allocate(heavier, eight) == {"small": 32, "large": 0}, "a heavier topic's extras come before it"


@given(_wants(), _clusters())
def test_nobody_starves_beside_the_extras_of_an_equal(wants: list[Want], capacity: Capacity) -> None:
    equal = [replace(want, weight=1.0, minimum=0) for want in wants]
    grants = allocate(equal, capacity)
    only_firsts = allocate([replace(want, target=min(1, want.target)) for want in equal], capacity)
    if all(only_firsts[want.topic] == min(1, want.target) for want in equal):
        assert all(grants[want.topic] >= min(1, want.target) for want in equal)


@pytest.mark.parametrize(
    ("nodes", "topics"),
    [
        (
            [{"CPU": 2, "disk": 16}, {"disk": 2}],
            {"a": (1, {"disk": 7}), "b": (1, {"disk": 2}), "c": (2, {"CPU": 1, "disk": 8})},
        ),
        (
            [{"CPU": 2, "GPU": 4}, {"GPU": 1}],
            {"a": (1, {"GPU": 1}), "b": (2, {"CPU": 1, "GPU": 2}), "c": (1, {"GPU": 2})},
        ),
        (
            [{"CPU": 15}, {"CPU": 13}, {"CPU": 8}, {"CPU": 6}],
            {f"{n}": (1, {"CPU": cpus}) for n, cpus in enumerate((4, 5, 5, 8, 5, 8, 6))} | {"small": (5, {"CPU": 1})},
        ),
    ],
    ids=["two of three need the large node", "the small one must take the small node", "one way for eight on four"],
)
def test_first_workers_of_equals_are_put_side_by_side_where_there_is_a_way(
    nodes: list[dict[str, float]], topics: dict[str, tuple[int, dict[str, float]]]
) -> None:
    wants = [Want(topic=t, weight=1, minimum=0, target=n, size=size) for t, (n, size) in topics.items()]
    capacity = Capacity(nodes=tuple(Node(node_id=f"n{i}", available=free) for i, free in enumerate(nodes)))
    assert all(allocate(wants, capacity).values())


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=2, max_size=4), st.integers(1, 20))
def test_first_workers_that_fill_their_nodes_all_get_one(bins: list[list[int]], extras: int) -> None:
    capacity = Capacity(nodes=tuple(Node(node_id=f"n{i}", available={"CPU": sum(b)}) for i, b in enumerate(bins)))
    sizes = [size for own in bins for size in own]
    wants = [
        Want(topic=f"t{i}", weight=1, minimum=0, target=extras if size == min(sizes) else 1, size={"CPU": size})
        for i, size in enumerate(sizes)
    ]
    assert all(allocate(wants, capacity).values())


@pytest.mark.parametrize("names", [("big", "small"), ("n1", "n0")])
@pytest.mark.parametrize("weight", [1.0, 10.0])
@pytest.mark.parametrize("minimum", [0, 1, 2])
def test_a_minimum_does_not_take_the_only_node_that_another_topic_fits_on(
    names: tuple[str, str], weight: float, minimum: int
) -> None:
    big, small = (Node(node_id=name, available={"CPU": cpus}) for name, cpus in zip(names, (4, 2), strict=True))
    wants = [
        Want(topic="a", weight=1, minimum=minimum, target=2, size={"CPU": 1}),
        Want(topic="b", weight=weight, minimum=0, target=1, size={"CPU": 4}),
    ]
    assert allocate(wants, Capacity(nodes=(big, small))) == {"a": 2, "b": 1}


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=2, max_size=4), st.data())
def test_minimums_and_first_workers_that_fill_their_nodes_all_get_one(
    bins: list[list[int]], data: st.DataObject
) -> None:
    capacity = Capacity(nodes=tuple(Node(node_id=f"n{i}", available={"CPU": sum(b)}) for i, b in enumerate(bins)))
    wants = [
        Want(
            topic=f"t{i}",
            weight=1,
            minimum=data.draw(st.integers(0, 1)),
            target=1,
            size={"CPU": size},
        )
        for i, size in enumerate(size for own in bins for size in own)
    ]
    assert all(allocate(wants, capacity).values())


def test_hundreds_of_first_workers_that_do_not_all_fit_are_no_trouble() -> None:
    sizes: list[dict[str, float]] = [{"CPU": 3}, {"CPU": 3}, {"CPU": 2, "disk": 1}, {"CPU": 4}]
    wants = [Want(topic=f"t{i}", weight=1, minimum=0, target=2, size=sizes[i % 4]) for i in range(1_200)]
    nodes = tuple(Node(node_id=f"n{i:03}", available={"CPU": 5, "disk": 5}) for i in range(720))
    assert sum(map(bool, allocate(wants, Capacity(nodes=nodes)).values())) >= 720
