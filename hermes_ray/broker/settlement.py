"""What follows a handled delivery: its ack, and before it the messages it leaves behind.

A delivery that leaves messages behind (a retry, a dead letter, publishes of its handler) is acked once the broker has
confirmed them all: a crash in between duplicates, never loses.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pika.adapters.select_connection import IOLoop
from pika.channel import Channel

from hermes_ray.broker.ack_ledger import AckLedger
from hermes_ray.broker.ages import Ages
from hermes_ray.broker.beside import Beside
from hermes_ray.broker.dead_letter_exchange import HomeSearch, home_of
from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.following import Following
from hermes_ray.broker.held_bytes import HeldBytes
from hermes_ray.broker.leavings import made_by_handler, to_dead_queue, to_wait_queue
from hermes_ray.broker.outgoing import attempt_of
from hermes_ray.broker.properties import Properties
from hermes_ray.broker.publisher import Publisher
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.broker.settlement_counts import Kind, SettlementCounts
from hermes_ray.broker.stuck import Stuck
from hermes_ray.broker.wire import DIRECT, Wire, room_bytes
from hermes_ray.logs import Log
from hermes_ray.outcome import DeadLetter, Done, Outcome, Retry

__all__ = ["Settler"]

log = Log(__name__)

WAITED_RATIO = 0.1  # of the time there is for a delivery, before a handler begins
AGES_RATIO = 0.02  # of that time, to which ages are kept: of half an hour to the second
LEFT_RATIO = 0.05  # of that time, for the confirm of what was given up on at its end
LEAST_ROOM_BYTES = 4_000  # of the smallest frame that AMQP has
HOLD_S = 0.9 * 1800  # where a broker waits for ever: so long is it by default


class Settler:
    """Settles the deliveries of one channel epoch at a time; lives in the I/O thread.

    ``on_due`` is called when an ack became due outside ``apply``. Beyond ``held_bytes.most`` none is kept for another
    try.
    """

    def __init__(
        self,
        loop: IOLoop,
        spec: QueueSpec,
        publisher: Publisher,
        *,
        held_bytes: HeldBytes,
        on_due: Callable[[], None],
        wire: Wire = DIRECT,
    ) -> None:
        self.counts = SettlementCounts()
        self.held_bytes = held_bytes
        self.beside = Beside()
        self.home = home_of(spec.queue, spec.arguments)
        self._search = None if self.home is None else HomeSearch(self.home, self.beside)
        self.loop = loop
        self._spec = spec
        self.publisher = publisher
        self._on_due = on_due
        self._wire = wire
        self._channel: Channel | None = None
        self._epoch = 0
        self._ledger = AckLedger()
        self._ages = Ages()
        self._due: Counter[Kind] = Counter()  # settled, and counted when the acks are on the wire: else they come again
        self.stuck = Stuck(spec.queue, self._requeue)
        self.following: dict[int, Following] = {}  # by tag, those that wait for confirms
        self.overdue_tag = 0
        self.waited_tag = 0
        self._ack_limit_s: float | None = HOLD_S

    def adapt(self, spec: QueueSpec) -> None:
        """Retry and publish by ``spec`` from now on; what handlers have published by former routes still gets there."""
        self._spec = replace(spec, routes={**self._spec.routes, **spec.routes})

    @property
    def open_count(self) -> int:
        """Deliveries the broker holds for us."""
        return self._ledger.open_count

    @property
    def is_waiting(self) -> bool:
        """Whether deliveries wait for confirms."""
        return bool(self.following)

    @property
    def in_slots_count(self) -> int:
        """Deliveries that are in a handler or wait for one, or whose outcome nobody has applied yet."""
        return self._ledger.open_count - self._ledger.due_count - len(self.following) - self.stuck.parked_count

    @property
    def at_work_count(self) -> int:
        """Those, and what waits for confirms that are to come soon."""
        return self.in_slots_count + len(self.following) - self.stuck.waiting_count

    @property
    def room_bytes(self) -> int:
        """What the properties of one message may take."""
        return LEAST_ROOM_BYTES if self._channel is None else room_bytes(self._channel)

    @property
    def body_count(self) -> int:
        """Deliveries whose bodies are kept."""
        return self._ledger.open_count - self.stuck.parked_count

    def begin(self, channel: Channel, ack_limit_s: float | None) -> int:
        """Deliveries are of this channel from now on, each to be settled within ``ack_limit_s``; returns its epoch."""
        self._channel = channel
        self._ack_limit_s = ack_limit_s
        self._epoch += 1
        self._ledger = AckLedger()
        self._ages = Ages(min(1.0, AGES_RATIO * (ack_limit_s or HOLD_S)))
        self.overdue_tag = self.waited_tag = 0
        return self._epoch

    def lose(self, ack_limit_s: float | None) -> None:
        """The channel is gone, and the broker has requeued all that was open; ``ack_limit_s``: as known now."""
        self._channel = None
        self._ack_limit_s = ack_limit_s
        self.stuck.clear()
        self.following.clear()
        self._due.clear()
        self.held_bytes.now = 0
        self.counts.given_back += self._ledger.open_count
        self._ledger = AckLedger()
        self.publisher.forget()

    def receive(self, batch: Sequence[Delivery]) -> int:
        """Deliveries of the current channel arrived; returns the bytes of their bodies."""
        if not batch:
            return 0
        first, last = batch[0].tag, batch[-1].tag
        if last - first + 1 == len(batch):
            self._ledger.add(first, last)
        else:
            for delivery in batch:
                self._ledger.add(delivery.tag, delivery.tag)
        self._ages.note(time.monotonic(), last)
        self.counts.received += len(batch)
        return self.held_bytes.add(batch)

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
                self.held_bytes.now -= len(delivery.body) + len(delivery.raw)
                acked += 1
            else:
                try:
                    self._leave_behind(delivery, outcome)
                except Exception as error:  # about one message: it is no reason to end the process, and all others
                    log.exception("what follows a message of %s failed", self._spec.queue)
                    self._retry_later(delivery, Retry(error=f"settlement failed: {error!r}", traceback=""))
        self._due["acked"] += acked

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Requeue with nack: closing the channel instead would count against a message on a quorum queue."""
        for delivery in deliveries:
            if self.ours(delivery) and self._requeue(delivery.tag):
                self.held_bytes.drop(delivery)

    def _requeue(self, tag: int) -> bool:
        """Give it back to the queue; whether there was a channel to do so."""
        if self._channel is None or not self._channel.is_open:
            return False
        self._channel.basic_nack(tag, requeue=True)
        self._ledger.give_back(tag)
        self.counts.given_back += 1
        return True

    def send_acks(self) -> None:
        """Put the acks that are due on the wire."""
        channel = self._channel
        if channel is not None and channel.is_open:
            self._wire.send_acks(channel, self._ledger.flush())
            for kind, count in self._due.items():
                self.counts.add(kind, count)
            self._due.clear()

    def _leave_behind(self, delivery: Delivery, outcome: Done | Retry | DeadLetter) -> None:
        match outcome:
            case Done(publishes=publishes):
                messages = [made_by_handler(self._spec, publish) for publish in publishes]
                Following(self, delivery, messages, "acked", outcome)
            case Retry(error=error, traceback=traceback, reason=reason):
                if attempt_of(Properties(delivery.raw)) < self._spec.max_attempts:
                    self._retry_later(delivery, outcome)
                else:
                    self.bury(delivery, DeadLetter(reason=reason, error=error, traceback=traceback))
            case DeadLetter():
                self.bury(delivery, outcome)

    def _retry_later(self, delivery: Delivery, outcome: Retry) -> None:
        Following(self, delivery, [to_wait_queue(self._spec, delivery)], "retried", outcome)

    def bury(self, delivery: Delivery, letter: DeadLetter) -> None:
        """Move ``delivery`` to the dead-letter queue."""
        kind: Kind = "dead_lettered_attempts" if letter.reason in ("attempts", "timeout") else "dead_lettered_permanent"
        Following(self, delivery, [to_dead_queue(self._spec, delivery, letter)], kind, letter)

    def settled(self, delivery: Delivery, kind: Kind) -> None:
        """What ``delivery`` has left behind has arrived: its ack is due."""
        self._due[kind] += 1
        self._ledger.settle(delivery.tag)
        self.held_bytes.drop(delivery)
        self._on_due()

    def park(self, delivery: Delivery, kind: Kind, why: str, *, full: str | None = None) -> None:
        """Keep ``delivery`` without its body: the broker takes it in no form, or too many wait for ``full`` already.

        Where the queue has a dead-letter exchange of its own, the broker moves there itself, soon, what is dead and
        refused: for what a queue has no room for there is none either way, and it would drop that.
        """
        self.held_bytes.drop(delivery)
        self.stuck.park(delivery.tag, kind, why, full)

    def wait_for_room(self, delivery: Delivery, kind: Kind, queue: str, why: str) -> None:
        """There is no room in ``queue`` for what ``delivery`` leaves behind; it is in nobody's way from now on.

        One always waits, and so asks whether there is room again: those that are parked hear of it from that one.
        """
        following, tag = self.following[delivery.tag], delivery.tag
        if self.stuck.is_alone(tag, queue) or (self.stuck.may_wait and not self.held_bytes.is_too_much):
            self.stuck.wait(tag, queue, why, following.give_up)
        else:
            self.park(delivery, kind, why, full=queue)
            following.close()

    def followed(self, tag: int) -> None:
        """Nothing more is sent for the delivery ``tag``."""
        self.following.pop(tag, None)
        self.stuck.wait_no_more(tag)

    def look_at_ages(self, now_s: float) -> None:
        """Note in ``overdue_tag`` up to which tag the broker soon takes deliveries back, at ``now_s``.

        What is parked, or has waited for confirms, is given back before; a retry that is confirmed after all is another
        copy. In ``waited_tag``: up to where a handler should not begin any more, since too little time is left for it.
        """
        limit_s = self._ack_limit_s or HOLD_S
        overdue = self._ages.before(now_s - limit_s)
        self.stuck.give_back_up_to(overdue)
        self._ages.forget(now_s - limit_s)
        self.stuck.go_on()
        if silent := self.publisher.silent.names:
            for waiting in list(self.following.values()):
                waiting.look_at_silent(silent)
        if self._search is not None and self.stuck.has_dead and self._channel is not None and self._channel.is_open:
            self._look_for_home_of_the_dead(self._search, self._channel, now_s)
        if self._ack_limit_s is not None:
            self.overdue_tag, self.waited_tag = overdue, self._ages.before(now_s - WAITED_RATIO * limit_s)
        following = [each for tag, each in self.following.items() if tag <= overdue]
        for each in following:
            if now_s - each.since_s >= LEFT_RATIO * limit_s:  # else its confirms are to come yet
                each.give_up()
        if following:
            self.publisher.withdraw()

    def is_overdue(self, delivery: Delivery, running_s: float) -> bool:
        """Whether ``delivery``, in a handler for ``running_s``, is to be given up on; for any thread.

        Of a channel that is gone the broker has it back long since; who is at it still can only be told by the time.
        """
        if delivery.epoch == self._epoch:
            return delivery.tag <= self.overdue_tag
        return self._ack_limit_s is not None and running_s > self._ack_limit_s

    def _look_for_home_of_the_dead(self, search: HomeSearch, channel: Channel, now_s: float) -> None:
        def reject() -> None:
            dead = self.stuck.take_dead() if channel.is_open and channel is self._channel else {}
            log.warning("%d messages go to the dead-letter exchange of %s", len(dead), self._spec.queue)
            for tag, kind in dead.items():
                channel.basic_reject(tag, requeue=False)
                self._ledger.give_back(tag)
                self.counts.add(kind)

        search.look(channel, now_s, reject)
