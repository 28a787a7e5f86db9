"""Publishes that came back, for which there is no queue: the broker returns a message before it confirms it."""

from __future__ import annotations

from collections import Counter

from hermes_ray.broker.outgoing import Outgoing
from hermes_ray.broker.properties import Properties

__all__ = ["Returns"]


class Returns:
    """What came back on one channel, until its confirm; false where there is nothing."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str | None]] = Counter()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def note(self, routing_key: str, raw: bytes) -> None:
        """One came back, with these properties."""
        self._counts[(routing_key, Properties(raw).get("message_id"))] += 1

    def take(self, message: Outgoing) -> bool:
        """Whether ``message``, which is confirmed, came back before."""
        key = (message.queue, message.properties.get("message_id"))
        came_back = self._counts[key] > 0
        self._counts[key] -= came_back
        if not self._counts[key]:
            del self._counts[key]
        return came_back

    def clear(self) -> None:
        """Another channel begins."""
        self._counts.clear()
