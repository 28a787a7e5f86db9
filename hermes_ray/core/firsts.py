"""The first workers of topics: whether they find a place beside others, and where they cost those the fewest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hermes_ray.core.resources import Free, Size, fit_count, take

__all__ = ["Nodes", "fitting", "take_firsts"]

Nodes = dict[str, Free]
"""Node id -> what is free there."""


def fitting(free: Nodes, firsts: Sequence[tuple[Size, str]]) -> dict[str, Size]:
    """Whose first workers fit side by side; looked for node by node, without taking anything."""
    changed: Nodes = {}
    fitting: dict[str, Size] = {}
    full: set[Size] = set()
    for size, topic in firsts:
        if size in full:
            continue
        for node_id, amounts in free.items():
            left = changed.get(node_id, amounts)
            if fit_count(left, size):
                changed[node_id] = dict(left)
                take(changed[node_id], size)
                fitting[topic] = size
                break
        else:
            full.add(size)
    return fitting


def take_firsts(
    free: Nodes,
    size: Size,
    placed: dict[str, dict[str, int]],
    living: Mapping[str, Mapping[str, int]],
    firsts: Mapping[str, Size],
) -> None:
    """Place these first workers, each where a class of ``size`` loses the fewest by it, at home among equals."""
    for topic, other in firsts.items():
        best: tuple[int, bool, str] | None = None
        for node_id, amounts in free.items():
            if fit_count(amounts, other):
                found = (_lost(amounts, size, other), node_id not in living[topic], node_id)
                best = found if best is None or found < best else best
        if best is not None:
            take(free[best[2]], other)
            placed[topic][best[2]] = 1


def _lost(free: Free, size: Size, other: Size) -> int:
    """How many fewer workers of ``size`` fit here beside one of ``other``."""
    if not size:
        return 0
    beside = dict(free)
    take(beside, other)
    return fit_count(free, size) - fit_count(beside, size)
