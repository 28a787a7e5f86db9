"""Where there is room on nodes: now, and when those that leave are gone."""

from __future__ import annotations

from hermes_ray.core.model import Capacity
from hermes_ray.core.resources import Free, Size, fit_count, free_of, take

__all__ = ["ANYWHERE", "Room"]

ANYWHERE = ""
"""The node of workers that take nothing."""


class Room:
    """Free resources by node, ``now`` and ``later``, when those that leave are gone and those that wait have come."""

    def __init__(self, capacity: Capacity) -> None:
        self.now: dict[str, Free] = {node.node_id: free_of(node.available) for node in capacity.smallest_first()}
        self.later: dict[str, Free] = {node_id: dict(free) for node_id, free in self.now.items()}
        self._node_ids = list(self.now)
        self._searched: dict[tuple[Size, bool], int] = {}  # room shrinks: nodes that were full are not looked at again

    def start(self, size: Size) -> str | None:
        """Use up room for one worker that starts now; returns its node, None if none has it."""
        if not size:
            return ANYWHERE
        for index in range(self._searched.get((size, True), 0), len(self._node_ids)):
            node_id = self._node_ids[index]
            if fit_count(self.now[node_id], size) and fit_count(self.later[node_id], size):
                self._searched[size, True] = index
                self.hold(size, node_id, 1, is_staying=True)
                return node_id
        self._searched[size, True] = len(self._node_ids)
        return None

    def wait(self, size: Size) -> str | None:
        """Keep a place for one that starts later; returns its node, None if none will have room."""
        for index in range(self._searched.get((size, False), 0), len(self._node_ids)):
            later = self.later[self._node_ids[index]]
            if fit_count(later, size):
                self._searched[size, False] = index
                take(later, size)
                return self._node_ids[index]
        self._searched[size, False] = len(self._node_ids)
        return None

    def will_leave(self, size: Size, node_id: str) -> None:
        """One of those that stay is told to go: its room is free later."""
        if node_id in self.later:
            take(self.later[node_id], size, -1)
            self._searched.clear()

    def hold(self, size: Size, node_id: str | None, count: int, *, is_staying: bool) -> None:
        """Workers live there; one whose node is unknown is taken to be on the first that has room."""
        if node_id is None:
            for _ in range(count):
                if (found := next((n for n, free in self.now.items() if fit_count(free, size)), None)) is not None:
                    self.hold(size, found, 1, is_staying=is_staying)
        elif node_id in self.now:
            take(self.now[node_id], size, count)
            if is_staying:
                take(self.later[node_id], size, count)
