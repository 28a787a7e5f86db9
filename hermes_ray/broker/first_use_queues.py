"""Queues over which the broker may close the channel: such as come with their first message, and such as it refuses."""

from __future__ import annotations

from collections.abc import Mapping

from hermes_ray.broker.outgoing import Outgoing
from hermes_ray.broker.refusals import is_about

__all__ = ["FirstUseQueues"]

_FIRST_PAUSE_S, _MOST_PAUSE_S = 1.0, 30.0


class FirstUseQueues:
    """Which messages are to declare their queue first, on one channel after the other.

    A queue that exists in another form is refused, and used as it is from then on. One that is refused and does not
    exist, as where this user may not create it, is left alone for a while, ever longer up to 30 s.

    ``blamed``: the queues to which a message was refused, until one is taken.
    """

    def __init__(self) -> None:
        self.blamed: set[str] = set()
        self._declared: set[str] = set()
        self._refused: dict[str, str] = {}  # with the broker's words
        self._absent: dict[str, tuple[float, float, str]] = {}  # until when, after what pause, and why

    def begin(self) -> None:
        """A new channel, perhaps of another broker: what was declared may be gone."""
        self._declared.clear()

    def to_declare(self, message: Outgoing) -> Mapping[str, str | int] | None:
        """With what arguments the queue of ``message`` is to be declared before it is published; None if it is not."""
        return None if message.queue in self._declared or message.queue in self._refused else message.declare

    def may_close(self, message: Outgoing) -> bool:
        """Whether the broker may close the channel over the queue or the exchange of ``message``."""
        return bool(message.exchange) or message.queue in self.blamed or self.to_declare(message) is not None

    def why_absent(self, queue: str, now_s: float) -> str | None:
        """Why ``queue`` could not be declared a while ago, so that a message would come back; None where it may be."""
        until_s, _, why = self._absent.get(queue, (now_s, 0.0, ""))
        return why if now_s < until_s else None

    def declared(self, queue: str) -> None:
        """Its declaration is on the wire."""
        self._declared.add(queue)

    def refused(self, reason: str) -> bool:
        """The broker closed the channel for ``reason``; whether that is about queues that were declared on it."""
        queues = {queue for queue in self._declared if is_about(reason, queue)}
        self._refused |= dict.fromkeys(queues, reason)
        return bool(queues)

    def confirmed(self, queue: str) -> None:
        """It has taken a message."""
        self._absent.pop(queue, None)
        self.blamed.discard(queue)

    def returned(self, queue: str, now_s: float) -> str:
        """There is no such queue; returns why it could not be declared, "" if that was not tried."""
        self._declared.discard(queue)
        why = self._refused.pop(queue, "")
        if why:
            _, former_s, _ = self._absent.get(queue, (0.0, _FIRST_PAUSE_S / 2, ""))
            pause_s = min(_MOST_PAUSE_S, 2 * former_s)
            self._absent[queue] = now_s + pause_s, pause_s, why
        return why
