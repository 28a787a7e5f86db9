"""Consuming one queue: deliveries out in batches, settlements in from any thread, acks coalesced.

One I/O thread owns the connection, the settler and its publisher. Handlers run elsewhere and cross over with ``settle``
only, with at most one wake-up of the I/O thread outstanding.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

from pika.channel import Channel

from hermes_ray.broker.ages import AckTimeout
from hermes_ray.broker.broker_spec import BrokerSpec
from hermes_ray.broker.consumer_ports import Buffer, ConsumerEvents
from hermes_ray.broker.declaring import declare_main
from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.delivery_watch import DeliveryWatch
from hermes_ray.broker.held_bytes import HeldBytes
from hermes_ray.broker.link import IoThread, Link, outlast
from hermes_ray.broker.publisher import Publisher
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.broker.settlement import Settler
from hermes_ray.broker.settlement_counts import SettlementCounts
from hermes_ray.broker.settlement_queue import SettlementQueue
from hermes_ray.broker.subscription import Subscription
from hermes_ray.broker.topology import main_arguments
from hermes_ray.broker.wire import wire_of
from hermes_ray.outcome import Outcome

__all__ = ["Consumer"]

LOOK_AT_AGES_S = 0.2
LOST_AFTER_S = 2.0


class Consumer:
    """Consumes ``spec.queue`` for ever over connection ``name``, giving each batch to ``slots`` in the I/O thread.

    ``concurrency``: handlers that run at once.
    """

    def __init__(
        self,
        broker: BrokerSpec,
        spec: QueueSpec,
        *,
        name: str,
        prefetch: int,
        prefetch_bytes: int = 1 << 26,
        concurrency: int,
        slots: Buffer,
        events: ConsumerEvents,
    ) -> None:
        wire = wire_of(broker.decoder)
        self.consuming = False
        self._lost_reason: str | None = None
        self._spec = spec
        self._slots = slots
        is_classic = main_arguments(spec) is not None and spec.queue_type == "classic"  # as far as it is known
        self._ack_timeout = AckTimeout(broker.ack_timeout_s, is_classic=is_classic)
        self._events = events
        self._concurrency = concurrency
        io = self._io = IoThread(f"io {name}", events.crashed)
        self._link = Link(
            io.loop,
            broker.urls,
            name=name,
            on_open=self._on_open,
            on_lost=self._on_lost,
            heartbeat_s=broker.heartbeat_s,
            wire=wire,
        )
        self._publisher = Publisher(io.loop, broker.urls, name=f"{name}/publish", wire=wire)
        self._held_bytes = HeldBytes(prefetch_bytes)
        settler = self._settler = Settler(
            io.loop, spec, self._publisher, held_bytes=self._held_bytes, on_due=self._wake, wire=wire
        )
        self._settlements = SettlementQueue(io, settler, concurrency=concurrency, prefetch=lambda: self.prefetch)
        self._subscription = Subscription(
            wire,
            spec.queue,
            prefetch,
            on_deliveries=self._on_deliveries,
            on_consuming=self._on_consuming,
            between=self._give_back_buffered,
            concurrency=concurrency,
            stuck=self._settler.stuck,
            in_slots_count=lambda: self._settler.in_slots_count,
        )
        self._channel: Channel | None = None
        self._epoch = 0
        self._batch: list[Delivery] = []
        self._ending = False
        self._at_work_s = math.inf
        self._watch = DeliveryWatch(
            self._io.loop,
            spec.queue,
            idle_channel=self._idle_channel,
            received=lambda: self._settler.counts.received,
            on_forgotten=self._begin_anew,
            beside=self._settler.beside,
        )

    # From any thread

    def start(self) -> None:
        """Start the I/O thread; deliveries follow as soon as the broker is there."""
        self._io.start()
        self._io.call(self._link.open)
        self._io.call(self._look_at_ages)
        self._io.call(self._watch.look)

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """What became of ``delivery``; of a channel that is gone it is dropped: the broker has requeued it."""
        self._settlements.put(delivery, outcome)

    def set_prefetch(self, prefetch: int) -> None:
        """Change the prefetch; for a lower one all that no handler has seen goes back."""
        self._io.call(lambda: self._subscription.change(prefetch))

    @property
    def prefetch(self) -> int:
        """How many deliveries the broker leaves open for us."""
        return self._subscription.prefetch

    def adapt(self, spec: QueueSpec) -> None:
        """Retry and publish by ``spec``, of the same queue, from now on."""
        self._io.call(lambda: self._settler.adapt(spec))

    def stop_consuming(self) -> threading.Event:
        """No new deliveries from now on; the event is set once the broker agreed or the channel is gone."""
        stopped = threading.Event()

        def stop() -> None:
            self._ending = True
            self.consuming = False
            self._settler.stuck.end()
            self._subscription.end(stopped.set)

        self._io.call(stop)
        return stopped

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Hand deliveries that no handler saw back to the broker, at once and with no attempt used."""
        self._io.call(lambda: self._settler.give_back(deliveries))

    @property
    def lost_reason(self) -> str | None:
        """Why there is no connection, or none to publish on for what waits to be published; None where all is well."""
        if self._lost_reason is None and (reason := self._publisher.lost_reason) is not None:
            return f"cannot publish: {reason}"
        return self._lost_reason

    @property
    def counts(self) -> SettlementCounts:
        """Cumulative counts, at most a moment old."""
        return self._settler.counts

    @property
    def most_by_bytes(self) -> int:
        """How many deliveries as large as those held, or as the last ones, may be held together; one at least."""
        return self._held_bytes.most_count

    @property
    def held_count(self) -> int:
        """Deliveries the broker holds for us, unsettled."""
        return self._settler.open_count

    def is_overdue(self, delivery: Delivery, running_s: float) -> bool:
        """Whether the broker takes ``delivery`` back soon, or has, since it is in a handler for so long."""
        return self._settler.is_overdue(delivery, running_s)

    @property
    def unmovable(self) -> tuple[int, str | None]:
        """Of the held ones, how many can be moved nowhere, and why the first."""
        return self._settler.stuck.said

    @property
    def wait_rungs_ms(self) -> frozenset[int]:
        """The delays of the wait queues that a retry of this worker has found or made; they exist."""
        return self._publisher.wait_rungs_ms

    @property
    def reconnect_count(self) -> int:
        """Times the connection was lost or could not be had."""
        return self._link.reconnect_count

    def close(self, timeout_s: float) -> bool:
        """Wait up to ``timeout_s`` until nothing is held, then close; True if nothing was. Call it once, at the end.

        What is held when time runs out goes back to the broker with the connection.
        """
        empty, closed = threading.Event(), threading.Event()
        self._at_work_s = time.monotonic()
        self._io.call(lambda: self._when_empty(empty.set))
        all_settled = empty.wait(timeout_s)
        self._io.call(lambda: self._begin_close(closed.set))
        closed.wait(5.0)
        self._io.stop()
        return all_settled

    # In the I/O thread

    def _on_open(self, channel: Channel) -> None:
        self._channel = channel
        self._ack_timeout.version = str(channel.connection.server_properties.get("version", ""))
        self._epoch = self._settler.begin(channel, self._ack_timeout.limit_s)
        channel.add_on_cancel_callback(lambda _frame: self._link.reset("the broker cancelled the consumer"))
        declare_main(channel, self._spec, self._lost_reason)
        self._subscription.begin(channel, self._epoch, self._ack_timeout.consume_arguments)

    def _look_at_ages(self) -> None:
        now_s = time.monotonic()
        self._settler.look_at_ages(now_s)
        waited = self._slots.take_back(up_to=(self._epoch, self._settler.waited_tag))
        if waited:
            self._settler.give_back(waited)
            self._subscription.change(max(1, self.prefetch - len(waited)))  # else they come straight back
        self._subscription.renew(now_s)
        self._io.loop.call_later(LOOK_AT_AGES_S, self._look_at_ages)

    def _give_back_buffered(self) -> None:
        # All of it: what is in handlers now stays open beside the next consumer's prefetch, and is overshoot enough.
        self._settler.give_back(self._slots.take_back())

    def _on_consuming(self) -> None:
        if not self._ending:
            self._link.working()
            self.consuming = True
            self._lost_reason = None
            self._events.changed()

    def _idle_channel(self) -> Channel | None:
        """The channel, where another delivery would find an idle slot, and room in the prefetch."""
        is_idle = self._settler.at_work_count < min(self._concurrency, self.prefetch)
        return self._channel if self.consuming and is_idle else None

    def _begin_anew(self) -> None:
        """The broker delivers nothing of what waits; what is in handlers is not cut short for it."""
        if self._settler.open_count:
            self._events.forgotten()
        else:
            self._link.reset("messages wait, and none is delivered")

    def _on_lost(self, reason: str) -> None:
        self._channel = None
        self._ack_timeout.learn(reason)
        self._slots.take_back()  # the broker hands them to others now
        self._settler.lose(self._ack_timeout.limit_s)
        self.consuming = False
        self._lost_reason = reason
        self._batch = []
        self._subscription.lose()
        self._events.changed()

    def _on_deliveries(self, deliveries: list[Delivery]) -> None:
        if not self._batch:
            # Due as soon as this socket read is worked through.
            self._io.loop.call_later(0, self._hand_over)
        self._batch += deliveries

    def _hand_over(self) -> None:
        batch, self._batch = self._batch, []
        size = self._settler.receive(batch)
        if self._ending:
            self._settler.give_back(batch)
        elif batch:
            self._settlements.hand_over(batch, size, self._put)

    def _put(self, batch: list[Delivery]) -> None:
        """RabbitMQ ignores a prefetch in bytes: what is beyond, which was on its way, is given back at once."""
        self._slots.put(batch)
        self._held_bytes.note_mean(self._settler.body_count)
        if self._held_bytes.is_too_much and self.prefetch > self.most_by_bytes:
            self._subscription.change(self.most_by_bytes)

    def _wake(self) -> None:
        self._settlements.wake()

    def _when_empty(self, then: Callable[[], None]) -> None:
        self._settlements.flush()
        now_s = time.monotonic()
        if not self._settlements.is_empty or self._settler.is_waiting:
            self._at_work_s = now_s
        # No handler runs any more: what is open, and nobody is about to settle, goes back with the connection.
        if self._channel is None or self._settler.open_count == 0 or now_s - self._at_work_s > LOST_AFTER_S:
            then()
        else:
            self._io.loop.call_later(0.01, lambda: self._when_empty(then))

    def _begin_close(self, then: Callable[[], None]) -> None:
        def close_connections() -> None:
            self._publisher.close(lambda: self._link.close(then))

        outlast(self._io.loop, self._channel, close_connections)
