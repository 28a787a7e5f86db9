"""One consumer at a time on one channel at a time, and what a changed prefetch takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from pika.channel import Channel

from hermes_ray.broker.stuck import Stuck
from hermes_ray.broker.wire import OnDeliveries, Wire

__all__ = ["Subscription"]

_MOST_PREFETCH = 65_535
_MANY_STUCK = 50_000  # of one worker: from then on it asks for others slowly, as the broker passes by all at each ack
_SLOW_GRANT, _SLOW_EVERY_S = 50, 5.0  # so about as many more get stuck: 16,200 until the first go back


class Subscription:
    """The consumer of ``queue``, with ``prefetch`` of its deliveries open; lives in the I/O thread.

    basic.qos counts for new consumers only, so a changed prefetch replaces the consumer: ``between`` is called before
    one with less, when the former one has been cancelled, and what goes back then is not handed straight back.
    Deliveries that got ``stuck`` stay open, and take the place of others until there is another consumer: the broker
    counts for each its own. So another is granted less by what its predecessor has left in slots, and more later.
    Where many are stuck, others still come, but few of those that get stuck too: what is given back to make room for
    others would come back before them.
    """

    def __init__(
        self,
        wire: Wire,
        queue: str,
        prefetch: int,
        *,
        on_deliveries: OnDeliveries,
        on_consuming: Callable[[], None],
        between: Callable[[], None],
        concurrency: int,
        stuck: Stuck,
        in_slots_count: Callable[[], int],
    ) -> None:
        self.prefetch = prefetch
        self._wire = wire
        self._queue = queue
        self._on_deliveries = on_deliveries
        self._on_consuming = on_consuming
        self._between = between
        self._concurrency = concurrency
        self._stuck = stuck
        self._stuck_before = 0
        self._in_slots_count = in_slots_count
        self._granted = prefetch
        self._renewed_s = -math.inf
        self._channel: Channel | None = None
        self._epoch = 0
        self._arguments: Mapping[str, Any] = {}
        self._tag = ""
        self._next: int | None = None  # the prefetch of the next one, once the one that there is has been cancelled
        self._after_cancel: list[Callable[[], None]] = []
        self._is_ending = False

    def begin(self, channel: Channel, epoch: int, arguments: Mapping[str, Any]) -> None:
        """Consume on ``channel`` from now on."""
        self._channel, self._epoch, self._arguments = channel, epoch, arguments
        self._consume()

    def change(self, prefetch: int | None = None) -> None:
        """Replace the consumer by one with ``prefetch``, or with as much as now or as is under way."""
        is_under_way, self._next = self._next is not None, prefetch or self._next or self.prefetch
        if not is_under_way:  # else the one that is would be followed by a second consumer
            self._cancel(self._consume_anew)

    def renew(self, now_s: float) -> None:
        """Replace the consumer where what has got stuck may keep slots idle, or where it was granted far too little.

        Not while as many are in slots, or wait for one, as may: each consumer brings more.
        """
        if self._in_slots_count() >= self.prefetch:
            return
        spare = max(1, min(self._granted // 4, self._granted - self._concurrency))
        is_worn = self._stuck.in_all - self._stuck_before >= spare
        is_due = not self._is_slow or now_s - self._renewed_s >= _SLOW_EVERY_S
        if (is_worn and is_due) or self._to_grant() > 1.5 * self._granted:
            self._renewed_s = now_s
            self.change()

    def end(self, then: Callable[[], None]) -> None:
        """Consume no more; ``then`` is called once the broker agreed or the channel is gone."""
        self._is_ending = True
        self._cancel(then)

    def lose(self) -> None:
        """The channel is gone, and with it the consumer."""
        self._channel = None
        self._on_cancelled()

    def _consume_anew(self) -> None:
        former, self.prefetch, self._next = self.prefetch, self._next or self.prefetch, None
        if self.prefetch < former:
            self._between()
        self._consume()

    def _consume(self) -> None:
        channel = self._channel
        if channel is not None and channel.is_open and not self._is_ending:
            self._granted = self._to_grant()
            self._stuck_before = self._stuck.in_all
            channel.basic_qos(prefetch_count=min(_MOST_PREFETCH, self._granted))
            self._tag = self._wire.consume(
                channel,
                self._queue,
                self._epoch,
                self._on_deliveries,
                callback=lambda _frame: self._on_consuming(),
                arguments=self._arguments,
            )

    def _to_grant(self) -> int:
        wanted = min(self.prefetch, max(self._concurrency, self.prefetch - self._in_slots_count()))
        return min(wanted, _SLOW_GRANT) if self._is_slow else wanted

    @property
    def _is_slow(self) -> bool:
        return self._stuck.count >= _MANY_STUCK

    def _cancel(self, then: Callable[[], None]) -> None:
        self._after_cancel.append(then)
        channel = self._channel
        if channel is None or not channel.is_open or self._tag not in channel.consumer_tags:
            self._on_cancelled()
        elif len(self._after_cancel) == 1:
            channel.basic_cancel(self._tag, callback=lambda _frame: self._on_cancelled())

    def _on_cancelled(self) -> None:
        waiting, self._after_cancel = self._after_cancel, []
        for then in waiting:
            then()
