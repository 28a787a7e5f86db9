"""The first workers of topics: whether they find a place beside others, and where they cost those the fewest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hermes_ray.core.resources import Free, Size, fit_count, take, total_of

__all__ = ["MOST_FIRSTS", "Effort", "Nodes", "first_places", "firsts_by_turn", "is_enough", "take_firsts"]

Nodes = dict[str, Free]
"""Node id -> what is free there."""

MOST_FIRSTS = 300  # as many levels of recursion, of which Python has 1,000


@dataclass(slots=True)
class Effort:
    """Looks at a node that may still be spent on finding a way in which all firsts fit; 20,000 take 40 to 90 ms."""

    left_count: int = 20_000

    def spend(self, count: int) -> bool:
        """Whether there was as much left."""
        self.left_count -= count
        return self.left_count >= 0


def first_places(free: Nodes, firsts: Sequence[tuple[Size, str]], effort: Effort) -> dict[str, str]:
    """A node for each topic's first worker, side by side, for as many as are found one; takes nothing.

    Largest first, by the largest part they take of what is free of a resource, each on the first node that holds it.
    Where somebody is left over although there is enough of everything, other ways are tried while ``effort`` lasts: it
    does for all ways there are of some ten firsts on a few nodes.
    """
    totals = total_of(free.values())
    shares = {size: max(amount / (totals.get(name) or 1) for name, amount in size) for size, _ in firsts}
    in_order = sorted(firsts, key=lambda first: -shares[first[0]])
    found = _one_after_the_other(free, in_order)
    may_fit = len(found) < len(in_order) <= MOST_FIRSTS and is_enough(totals, in_order)
    nodes = _search(free, [size for size, _ in in_order], effort) if may_fit else None
    return found if nodes is None else dict(zip((topic for _, topic in in_order), nodes, strict=True))


def firsts_by_turn(
    free: Nodes, own: Sequence[tuple[Size, str]], others: Sequence[tuple[Size, str]], effort: Effort
) -> dict[str, str]:
    """As ``first_places`` of both; where that leaves somebody of ``own`` without, those come first."""
    found = first_places(free, [*own, *others], effort)
    if all(topic in found for _, topic in own):
        return found
    found, rest = first_places(free, own, effort), {node_id: dict(amounts) for node_id, amounts in free.items()}
    for size, topic in own:
        if topic in found:
            take(rest[found[topic]], size)
    return found | first_places(rest, others, effort)


def _one_after_the_other(free: Nodes, firsts: Sequence[tuple[Size, str]]) -> dict[str, str]:
    changed: Nodes = {}
    found: dict[str, str] = {}
    node_ids, full_until = list(free), dict[Size, int]()  # nodes that had no room for one of this size have none later
    for size, topic in firsts:
        for index in range(full_until.get(size, 0), len(node_ids)):
            node_id = node_ids[index]
            left = changed.get(node_id, free[node_id])
            if fit_count(left, size):
                changed[node_id] = dict(left)
                take(changed[node_id], size)
                found[topic], full_until[size] = node_id, index
                break
        else:
            full_until[size] = len(node_ids)
    return found


def is_enough(totals: Mapping[str, int], firsts: Sequence[tuple[Size, str]]) -> bool:
    """Whether all nodes together have what these take."""
    wanted: Free = {}
    for size, _ in firsts:
        take(wanted, size, -1)
    return all(totals.get(name, 0) >= amount for name, amount in wanted.items())


def _search(free: Nodes, sizes: Sequence[Size], effort: Effort) -> list[str] | None:
    """A node for each size, all side by side; None if there is no such way, or the effort ends before one is found.

    Ways that leave the same amounts, on whatever nodes, are one: it is tried once.
    """
    left = {node_id: dict(amounts) for node_id, amounts in free.items()}
    hopeless: set[tuple[int, tuple[tuple[tuple[str, int], ...], ...]]] = set()

    def search(index: int) -> list[str] | None:
        if index == len(sizes):
            return []
        shapes = {node_id: tuple(sorted(amounts.items())) for node_id, amounts in left.items()}
        state = (index, tuple(sorted(shapes.values())))
        if state in hopeless or not effort.spend(len(shapes)):
            return None
        for node_id in {shape: node_id for node_id, shape in shapes.items()}.values():
            if fit_count(left[node_id], sizes[index]):
                take(left[node_id], sizes[index])
                rest = search(index + 1)
                take(left[node_id], sizes[index], -1)
                if rest is not None:
                    return [node_id, *rest]
        hopeless.add(state)
        return None

    return search(0)


def take_firsts(
    free: Nodes,
    size: Size,
    placed: dict[str, dict[str, int]],
    firsts: Sequence[tuple[Size, str]],
    possible: Mapping[str, str],
    own: Collection[str],
    effort: Effort,
) -> None:
    """Place the ``possible`` first workers of all but a class's ``own`` topics, where the class loses the fewest by it.

    Where they would so take each other's place, or that of the class's own first workers, they go where it is possible.
    """
    wanted = [(other, topic) for other, topic in firsts if topic in possible]
    cheapest = {node_id: dict(amounts) for node_id, amounts in free.items()}
    chosen = dict(possible)
    for other, topic in wanted:
        nodes = [node_id for node_id, amounts in cheapest.items() if fit_count(amounts, other)]
        if topic not in own and nodes:
            chosen[topic] = min(nodes, key=lambda node_id: (_lost(cheapest[node_id], size, other), node_id))
            take(cheapest[chosen[topic]], other)
        elif topic not in own:
            chosen = dict(possible)
            break
    else:
        ours = [first for first in wanted if first[1] in own]
        if len(first_places(cheapest, ours, effort)) < len(ours):
            chosen = dict(possible)
    for other, topic in wanted:
        if topic not in own:
            take(free[chosen[topic]], other)
            placed[topic][chosen[topic]] = 1


def _lost(free: Free, size: Size, other: Size) -> int:
    """How many fewer workers of ``size`` fit here beside one of ``other``."""
    if not size:
        return 0
    beside = dict(free)
    take(beside, other)
    return fit_count(free, size) - fit_count(beside, size)
