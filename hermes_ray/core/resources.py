"""What a worker takes and a node has: amounts by Ray's names, and whole ten-thousandths of them to reckon with.

Ray counts in ten-thousandths too, so that three workers of 0.3 fit where 0.9 is free, without a tolerance. A name is
``CPU``, ``GPU``, ``memory`` (bytes), ``node:IP``, ``accelerator_type:NAME`` or one that a node was started with; all
are counted alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["Free", "Resources", "Size", "fit_count", "free_of", "shortage", "size_of", "take"]

Resources = Mapping[str, float]
"""Ray's name -> amount, each >= 0."""

Size = tuple[tuple[str, int], ...]
"""What one worker takes: names in order, with ten-thousandths above 0."""

Free = dict[str, int]
"""What is left of a node, in ten-thousandths; below 0 where more is in use than there is."""

_PER_ONE = 10_000


def size_of(resources: Resources) -> Size:
    """The amounts above 0. ``{"CPU": 0.25, "GPU": 0}`` is ``(("CPU", 2500),)``."""
    return tuple(sorted((name, part) for name, amount in resources.items() if (part := round(amount * _PER_ONE)) > 0))


def free_of(resources: Resources) -> Free:
    """All amounts, to take from."""
    return {name: round(amount * _PER_ONE) for name, amount in resources.items()}


def fit_count(free: Mapping[str, int], size: Size) -> int:
    """Workers of ``size``, which takes something, that fit into ``free``."""
    least = -1
    for name, amount in size:
        count = free.get(name, 0) // amount
        if count <= 0:
            return 0
        if least < 0 or count < least:
            least = count
    return least


def take(free: Free, size: Size, count: int = 1) -> None:
    """Take ``count`` workers off ``free``; below 0 it gives them back."""
    for name, amount in size:
        free[name] = free.get(name, 0) - count * amount


def shortage(nodes: Iterable[Mapping[str, int]], size: Size) -> str:
    """What keeps one more worker of ``size`` off the node where least is missing, for people; empty where it fits.

    ``0.25 CPU short on every node``; with several resources missing there: ``1 CPU and 2 GPU short on every node``.
    """
    lacks = [[(name, amount - max(0, free.get(name, 0))) for name, amount in size] for free in nodes]
    wanting = [[(name, missing) for name, missing in lack if missing > 0] for lack in lacks]
    if not wanting:
        return "there is no node"
    wanted = dict(size)
    least = min(wanting, key=lambda lack: sum(missing / wanted[name] for name, missing in lack))
    named = " and ".join(f"{missing / _PER_ONE:.15g} {name}" for name, missing in least)
    return f"{named} short on every node" if named else ""
