"""What fits at this moment, beside everybody who still lives: those who drain hold their place until they are gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hermes_ray.core.model import Bundle, Capacity

__all__ = ["Room"]

_TOLERANCE = 1e-9


class Room:
    """Free resources by node. ``sizes``: what a worker of each topic takes; ``unplaced``: workers somewhere unknown."""

    def __init__(self, capacity: Capacity, sizes: Mapping[str, Bundle], unplaced: Iterable[Bundle]) -> None:
        self._nodes = [flat(node.available) for node in capacity.nodes]
        for free, node in zip(self._nodes, capacity.nodes, strict=True):
            for topic, count in node.workers.items():
                if topic in sizes:
                    _subtract(free, flat(sizes[topic]), count)
        for bundle in unplaced:
            self.take(bundle)

    def take(self, bundle: Bundle) -> bool:
        """Use up room for one worker of this size; False if no node has it."""
        size = flat(bundle)
        if not size:
            return True
        for free in self._nodes:
            if all(free.get(key, 0.0) + _TOLERANCE >= amount for key, amount in size.items()):
                _subtract(free, size, 1)
                return True
        return False


def flat(bundle: Bundle) -> dict[str, float]:
    """The amounts above 0 by resource, under Ray's names."""
    named = {"CPU": bundle.num_cpus, "memory": bundle.memory_bytes, **bundle.custom}
    return {key: amount for key, amount in named.items() if amount > 0}


def _subtract(free: dict[str, float], size: Mapping[str, float], count: int) -> None:
    for key, amount in size.items():
        free[key] = free.get(key, 0.0) - amount * count
