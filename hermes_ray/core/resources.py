"""What a worker takes and a node has: amounts by Ray's names, and whole ten-thousandths of them to reckon with.

Ray counts in ten-thousandths too, so that three workers of 0.3 fit where 0.9 is free, without a tolerance. A name is
``CPU``, ``GPU``, ``memory`` (bytes), ``node:IP``, ``accelerator_type:NAME`` or one that a node was started with; all
are counted alike, but for devices: Ray gives a part of one device, never parts of several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["Free", "Resources", "Size", "amounts_of", "fit_count", "free_of", "shortage", "size_of", "take", "total_of"]

Resources = Mapping[str, float]
"""Ray's name -> amount, each >= 0."""

Size = tuple[tuple[str, int], ...]
"""What one worker takes: names in order, with ten-thousandths above 0."""

Free = dict[str, int]
"""What is left of a node, in ten-thousandths; below 0 where more is in use than there is."""

_PER_ONE = 10_000

_DEVICES = frozenset(("GPU", "neuron_cores", "TPU", "NPU", "HPU", "RBLN", "FURIOSA", "TTNPU", "MBLT"))
"""What Ray gives out by device: its ``predefined_`` and ``custom_unit_instance_resources``."""


def size_of(resources: Resources) -> Size:
    """The amounts above 0. ``{"CPU": 0.25, "GPU": 0}`` is ``(("CPU", 2500),)``.

    A part of a device counts as the largest of which no more fit on one, what it leaves being of no use to its equals:
    0.6 GPU is a whole one, of 0.4 two fit, so that two GPUs hold two of the one or four of the other.
    """
    parts = ((name, _part(name, amount)) for name, amount in resources.items())
    return tuple(sorted((name, part) for name, part in parts if part > 0))


def _part(name: str, amount: float) -> int:
    part = round(amount * _PER_ONE)
    return _PER_ONE // (_PER_ONE // part) if name in _DEVICES and 0 < part < _PER_ONE else part


def free_of(resources: Resources) -> Free:
    """All amounts, to take from."""
    return {name: round(amount * _PER_ONE) for name, amount in resources.items()}


def amounts_of(free: Free) -> Resources:
    """The other way round."""
    return {name: part / _PER_ONE for name, part in free.items()}


def total_of(nodes: Iterable[Mapping[str, int]]) -> Free:
    """What all nodes have together; where more is in use than there is, nothing."""
    totals: Free = {}
    for node in nodes:
        for name, amount in node.items():
            totals[name] = totals.get(name, 0) + max(0, amount)
    return totals


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
