"""Settlements on their way from the threads of handlers to the I/O thread, and from there to the broker as acks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from hermes_ray.broker.ack_pace import FLUSH_DELAY_S, AckPace
from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.link import IoThread
from hermes_ray.broker.settlement import Settler
from hermes_ray.outcome import Outcome

__all__ = ["SettlementQueue"]


class SettlementQueue:
    """What is ``put`` here by any thread ``settler`` is given in the I/O thread, at the pace of acks.

    ``prefetch``: how many deliveries the broker leaves open for us.
    """

    def __init__(self, io: IoThread, settler: Settler, *, concurrency: int, prefetch: Callable[[], int]) -> None:
        self._io = io
        self._settler = settler
        self._pace = AckPace(concurrency)
        self._prefetch = prefetch
        self._settlements: deque[tuple[Delivery, Outcome]] = deque()

    def put(self, delivery: Delivery, outcome: Outcome) -> None:
        """What became of ``delivery``; from any thread."""
        self._settlements.append((delivery, outcome))
        if not self._pace.is_wake_pending:
            self.wake()

    def wake(self) -> None:
        """Have what is due sent soon; from any thread."""
        if not self._pace.is_wake_pending:
            self._pace.is_wake_pending = True
            self._io.call(self._on_wake)

    # In the I/O thread

    @property
    def is_empty(self) -> bool:
        """Whether all there were have been taken."""
        return not self._settlements

    def flush(self) -> None:
        """Settle what there is, and send the acks."""
        self._pace.flushing()
        take = self._settlements.popleft
        self._settler.apply([take() for _ in range(len(self._settlements))])
        self._settler.send_acks()

    def hand_over(self, batch: list[Delivery], size_bytes: int, put: Callable[[list[Delivery]], None]) -> None:
        """``put`` a batch from one read into the slots, with their settlements soon to come.

        In a burst the interpreter is left to the slots for as long as acks may wait; then these are sent, and what has
        come is read.
        """
        is_burst = self._pace.is_burst(self._prefetch(), len(batch), size_bytes)
        if is_burst:
            self._pace.is_wake_pending = True  # slots need not wake who comes by itself
        put(batch)
        if is_burst:
            time.sleep(FLUSH_DELAY_S)
            self.flush()

    def _on_wake(self) -> None:
        in_hand_count = self._settler.in_slots_count - len(self._settlements)
        delay_s = self._pace.flush_in_s(self._prefetch(), in_hand_count)
        if delay_s:
            self._io.loop.call_later(delay_s, self.flush)
        elif delay_s is not None:
            self.flush()
