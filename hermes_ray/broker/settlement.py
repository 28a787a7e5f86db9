"""What follows a handled delivery: its ack, and before it the messages it leaves behind.

A delivery that leaves messages behind (a retry, a dead letter, publishes of its handler) is acked once the broker has
confirmed them all: a crash in between duplicates, never loses.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from pika.adapters.select_connection import IOLoop
from pika.channel import Channel

from hermes_ray.broker.ack_ledger import AckLedger
from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.outgoing import Outgoing, attempt_of, dead_letter, fresh, retry
from hermes_ray.broker.publisher import Answer, Publisher
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.broker.settlement_counts import SettlementCounts
from hermes_ray.broker.topology import dead_queue, queue_arguments, wait_arguments, wait_queue
from hermes_ray.core.retry_rungs import retry_rung_ms
from hermes_ray.message import DeadLetter, Done, Outcome, Retry

__all__ = ["Settler"]

log = logging.getLogger(__name__)

Kind = Literal["acked", "retried", "dead_lettered_permanent", "dead_lettered_attempts"]

REPUBLISH_DELAY_S = 1.0  # after the broker refused a retry or dead letter


class Settler:
    """Settles the deliveries of one channel epoch at a time; lives in the I/O thread.

    ``on_due`` is called when an ack became due outside ``apply``.
    """

    def __init__(self, loop: IOLoop, spec: QueueSpec, publisher: Publisher, on_due: Callable[[], None]) -> None:
        self.counts = SettlementCounts()
        self._loop = loop
        self._spec = spec
        self._publisher = publisher
        self._on_due = on_due
        self._channel: Channel | None = None
        self._epoch = 0
        self._ledger = AckLedger()

    def adapt(self, spec: QueueSpec) -> None:
        """Retry and publish by ``spec`` from now on; what handlers have published by former routes still gets there."""
        self._spec = replace(spec, routes={**self._spec.routes, **spec.routes})

    @property
    def open_count(self) -> int:
        """Deliveries the broker holds for us."""
        return self._ledger.open_count

    def begin(self, channel: Channel) -> int:
        """Deliveries are of this channel from now on; returns its epoch."""
        self._channel = channel
        self._epoch += 1
        self._ledger = AckLedger()
        return self._epoch

    def lose(self) -> None:
        """The channel is gone, and the broker has requeued all that was open on it."""
        self._channel = None
        self.counts.given_back += self._ledger.open_count
        self._ledger = AckLedger()
        self._publisher.forget()

    def receive(self, batch: Sequence[Delivery]) -> None:
        """Deliveries of the current channel arrived."""
        if not batch:
            return
        first, last = batch[0].tag, batch[-1].tag
        if last - first + 1 == len(batch):
            self._ledger.add(first, last)
        else:
            for delivery in batch:
                self._ledger.add(delivery.tag, delivery.tag)
        self.counts.received += len(batch)

    def ours(self, delivery: Delivery) -> bool:
        """Whether ``delivery`` is of the channel there is, so that it can still be settled."""
        return delivery.epoch == self._epoch and self._channel is not None

    def apply(self, settlements: Iterable[tuple[Delivery, Outcome]]) -> None:
        """Do what each outcome asks for; for a delivery of a channel that is gone, nothing.

        With the tag alone another message would be acked for it.
        """
        epoch, settle = self._epoch, self._ledger.settle
        acked = 0
        for delivery, outcome in settlements:
            if delivery.epoch != epoch or self._channel is None:
                self.counts.stale += 1
            elif outcome is None:
                settle(delivery.tag)
                acked += 1
            else:
                self._leave_behind(delivery, outcome)
        self.counts.acked += acked

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Requeue with nack: closing the channel instead would count against a message on a quorum queue."""
        channel = self._channel
        for delivery in deliveries:
            if channel is not None and channel.is_open and self.ours(delivery):
                channel.basic_nack(delivery.tag, requeue=True)
                self._ledger.give_back(delivery.tag)
                self.counts.given_back += 1

    def send_acks(self) -> None:
        """Put the acks that are due on the wire."""
        channel = self._channel
        if channel is not None and channel.is_open:
            for tag, multiple in self._ledger.flush():
                channel.basic_ack(tag, multiple)

    def _leave_behind(self, delivery: Delivery, outcome: Done | Retry | DeadLetter) -> None:
        match outcome:
            case Done(publishes=publishes):
                routes = self._spec.routes
                messages = [fresh(routes[p.topic], p.body, headers=p.headers, id=p.id) for p in publishes]
                _Following(self, delivery, messages, "acked")
            case Retry(error=error, traceback=traceback) if attempt_of(delivery.properties) >= self._spec.max_attempts:
                self._bury(delivery, DeadLetter(reason="attempts", error=error, traceback=traceback))
            case Retry():
                self._retry_later(delivery)
            case DeadLetter():
                self._bury(delivery, outcome)

    def _retry_later(self, delivery: Delivery) -> None:
        spec = self._spec
        delay_ms = retry_rung_ms(spec.rungs_ms, attempt_of(delivery.properties), random.choice)
        message = retry(
            delivery.properties,
            delivery.body,
            queue=wait_queue(spec.queue, delay_ms),
            delay_ms=delay_ms,
            declare=wait_arguments(spec.queue, spec.queue_type, delay_ms) if spec.declare else None,
        )
        _Following(self, delivery, [message], "retried")

    def _bury(self, delivery: Delivery, letter: DeadLetter) -> None:
        spec = self._spec
        message = dead_letter(
            delivery.properties,
            delivery.body,
            queue=dead_queue(spec.queue),
            topic=spec.topic,
            letter=letter,
            declare=queue_arguments(spec.queue_type) if spec.declare else None,
        )
        kind: Kind = "dead_lettered_attempts" if letter.reason == "attempts" else "dead_lettered_permanent"
        _Following(self, delivery, [message], kind)


class _Following:
    """The publishes of one delivery, which is settled when all are confirmed.

    A retry or dead letter that the broker refuses is sent again for as long as the delivery is ours: nothing is lost
    while a queue is missing or full. A handler's publish to a queue that is not there fails the delivery instead.
    """

    __slots__ = ("_delivery", "_kind", "_missing", "_settler")

    def __init__(
        self,
        settler: Settler,
        delivery: Delivery,
        messages: Sequence[Outgoing],
        kind: Kind,
    ) -> None:
        self._settler = settler
        self._delivery = delivery
        self._kind = kind
        self._missing = len(messages)
        for message in messages:
            self._send(message)

    def _send(self, message: Outgoing) -> None:
        if self._settler.ours(self._delivery):
            self._settler._publisher.publish(message, lambda answer: self._on_answer(message, answer))

    def _on_answer(self, message: Outgoing, answer: Answer) -> None:
        settler = self._settler
        if self._missing <= 0 or not settler.ours(self._delivery):
            return
        if answer is Answer.RETURNED and self._kind == "acked":
            self._missing = 0
            why = Retry(error=f"publish failed: there is no queue {message.queue}", traceback="")
            settler.apply([(self._delivery, why)])
        elif answer is not Answer.CONFIRMED:
            log.warning("publish to %s was %s; trying again", message.queue, answer)
            settler._loop.call_later(REPUBLISH_DELAY_S, lambda: self._send(message))
        else:
            self._missing -= 1
            if not self._missing:
                self._settle()

    def _settle(self) -> None:
        settler, kind = self._settler, self._kind
        counts = settler.counts
        setattr(counts, kind, getattr(counts, kind) + 1)
        settler._ledger.settle(self._delivery.tag)
        settler._on_due()
