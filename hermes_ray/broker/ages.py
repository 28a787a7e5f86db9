"""How long the broker has been waiting for settlements, and how long it waits.

RabbitMQ counts from the delivery, whether a handler has seen it or not, and looks once a minute: it ends the channel of
who is overdue, and with it all that the channel holds. So we settle before that ourselves.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from hermes_ray.config.settings import ACK_LIMIT_RATIO

__all__ = ["AckTimeout", "Ages"]

_BY_CONSUMER = (4, 3)  # from this version on quorum queues heed what consumers say, and classic ones wait for ever
_FOR_EVER_MS = 10**12  # 31 years; 2^62 ends the leader of the queue (4.3.6)
_TIMED_OUT = re.compile(r"delivery acknowledgement .*timed out.*?Timeout value used: (\d+) ms", re.DOTALL)


class Ages:
    """When the deliveries of one channel arrived, to ``apart_s`` or a little more; tags only grow."""

    def __init__(self, apart_s: float = 1.0) -> None:
        self._apart_s = apart_s
        self._since_s: list[float] = []
        self._tags: list[int] = []  # the last of those that have arrived since then, up to the next moment

    def note(self, now_s: float, last: int) -> None:
        """Deliveries up to tag ``last`` have arrived by ``now_s``."""
        if self._since_s and now_s - self._since_s[-1] < self._apart_s:
            self._tags[-1] = last
        else:
            self._since_s.append(now_s)
            self._tags.append(last)

    def before(self, then_s: float) -> int:
        """The last tag of those that arrived up to ``then_s``, or within ``apart_s`` after; 0 where none did."""
        found = bisect_right(self._since_s, then_s)
        return self._tags[found - 1] if found else 0

    def forget(self, then_s: float) -> None:
        """What arrived before ``then_s`` is asked for no more, but for its last tag."""
        found = bisect_right(self._since_s, then_s) - 1
        if found > 0:
            del self._since_s[:found], self._tags[:found]


class AckTimeout:
    """How long a broker of ``version`` waits for the deliveries of one queue: ``timeout_s``, None for ever.

    ``is_classic``: whether the queue is, as far as it is known.
    """

    def __init__(self, timeout_s: float | None, *, is_classic: bool) -> None:
        self._timeout_s = timeout_s
        self._is_classic = is_classic
        self.version = ""

    @property
    def limit_s(self) -> float | None:
        """Within which a delivery is to be settled: 0.9 of the time; None: no limit.

        30 minutes: within 27. From RabbitMQ 4.3 on nobody waits for those of a classic queue.
        """
        if self._timeout_s is None or (self._is_classic and _number(self.version) >= _BY_CONSUMER):
            return None
        return ACK_LIMIT_RATIO * self._timeout_s

    @property
    def consume_arguments(self) -> dict[str, int]:
        """What a consumer is declared with, so that the broker waits for so long: from RabbitMQ 4.3 on it listens.

        Without a time of ours the broker's own would count there, and it does not tell it. A classic queue refuses the
        argument.
        """
        if self._is_classic or _number(self.version) < _BY_CONSUMER:
            return {}
        return {"x-consumer-timeout": _FOR_EVER_MS if self._timeout_s is None else round(1000 * self._timeout_s)}

    def learn(self, reason: str) -> None:
        """The broker has ended a channel for ``reason``, which may be that it has waited so long.

        In its words: ``PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used:
        1800000 ms.``: 1800 s. Or that it refuses what a consumer was declared with, as where a queue is classic.
        """
        self._is_classic = self._is_classic or "x-consumer-timeout" in reason
        if found := _TIMED_OUT.search(reason):
            self._timeout_s = int(found[1]) / 1000


def _number(version: str) -> tuple[int, ...]:
    """``4.3.6`` as (4, 3, 6), and of what says no numbers nothing."""
    return tuple(map(int, re.findall(r"\d+", version.partition("-")[0])))
