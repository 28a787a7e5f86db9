"""Queues that come with their first message, such as those in which retries wait: what the broker said of each."""

from __future__ import annotations

from collections.abc import Mapping

from hermes_ray.broker.outgoing import Outgoing
from hermes_ray.broker.refusals import is_about

__all__ = ["LateQueues"]

_FIRST_PAUSE_S, _MOST_PAUSE_S = 1.0, 30.0


class LateQueues:
    """Which messages are to declare their queue first, on one channel after the other.

    A queue that exists in another form is refused, and used as it is from then on. One that is refused and does not
    exist, as where a limit of queues is reached, is left alone for a while, ever longer up to 30 s.
    """

    def __init__(self) -> None:
        self._declared: set[str] = set()
        self._refused: set[str] = set()
        self._absent: dict[str, tuple[float, float]] = {}  # until when, after what pause

    def begin(self) -> None:
        """A new channel, perhaps of another broker: what was declared may be gone."""
        self._declared.clear()

    def to_declare(self, message: Outgoing) -> Mapping[str, str | int] | None:
        """With what arguments the queue of ``message`` is to be declared before it is published; None if it is not."""
        return None if message.queue in self._declared or message.queue in self._refused else message.declare

    def is_absent(self, message: Outgoing, now_s: float) -> bool:
        """Whether the queue of ``message`` could not be declared of late, so that it would come back."""
        if message.declare is None or message.queue not in self._absent:
            return False
        return now_s < self._absent[message.queue][0]

    def declared(self, queue: str) -> None:
        """Its declaration is on the wire."""
        self._declared.add(queue)

    def refused(self, reason: str) -> bool:
        """The broker closed the channel for ``reason``; whether that is about queues that were declared on it."""
        queues = {queue for queue in self._declared if is_about(reason, queue)}
        self._refused |= queues
        return bool(queues)

    def confirmed(self, queue: str) -> None:
        """It has taken a message."""
        self._absent.pop(queue, None)

    def returned(self, queue: str, now_s: float) -> None:
        """There is no such queue."""
        self._declared.discard(queue)
        if queue in self._refused:
            self._refused.discard(queue)
            pause_s = min(_MOST_PAUSE_S, 2 * self._absent.get(queue, (0.0, _FIRST_PAUSE_S / 2))[1])
            self._absent[queue] = now_s + pause_s, pause_s
