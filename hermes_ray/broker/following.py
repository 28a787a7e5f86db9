"""The messages that one delivery leaves behind, until the broker has confirmed them all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.outgoing import Outgoing, reduced
from hermes_ray.broker.publisher import Answer
from hermes_ray.broker.settlement_counts import Kind
from hermes_ray.logs import Log
from hermes_ray.outcome import DeadLetter, Done, Retry

if TYPE_CHECKING:
    from hermes_ray.broker.settlement import Settler

__all__ = ["Following"]

log = Log(__name__)

LEAST_PAUSE_S, MOST_PAUSE_S = 1.0, 30.0  # before what the broker had no room for is sent again
PATIENCE_S = 3.0  # then a handler's publish fails, and who waits with a retry or dead letter is in nobody's way


class Following:
    """The publishes of one delivery, which is settled when all are confirmed.

    A retry or dead letter for which there is no room is sent again, ever less often, for as long as the delivery is
    ours: nothing is lost while a queue is missing or full. What the broker refuses for what it is is not sent again: a
    retry becomes a dead letter, a dead letter loses headers, and then goes where its queue dead-letters. A handler's
    publish that does not arrive fails the delivery, at once or after a few seconds.
    """

    __slots__ = (
        "_delivery",
        "_is_reduced",
        "_kind",
        "_missing",
        "_no_room_since_s",
        "_outcome",
        "_settler",
        "_unanswered",
        "_words",
        "since_s",
    )

    def __init__(
        self,
        settler: Settler,
        delivery: Delivery,
        messages: Sequence[Outgoing],
        kind: Kind,
        outcome: Done | Retry | DeadLetter,
    ) -> None:
        self._settler = settler
        self._delivery = delivery
        self._kind = kind
        self._outcome = outcome
        self._missing = len(messages)
        self._unanswered: Counter[str] = Counter()  # messages by where they were sent
        self._is_reduced = False
        self._words = ""  # with which Q.dead was refused, where a dead letter goes elsewhere now
        self.since_s = time.monotonic()
        self._no_room_since_s: float | None = None
        settler.following[delivery.tag] = self
        for message in messages:
            self._send(message)

    def _send(self, message: Outgoing) -> None:
        if self._is_wanted():
            self._unanswered[message.queue] += 1
            self._settler.publisher.publish(
                message, lambda answer, words: self._on_answer(message, answer, words), self._is_wanted
            )

    def _on_answer(self, message: Outgoing, answer: Answer, words: str) -> None:
        self._unanswered[message.queue] -= 1
        if not self._is_wanted():
            return
        if answer is Answer.CONFIRMED or (answer is Answer.RETURNED and message.may_be_lost):
            self._settler.stuck.has_found_room(message.queue)
            self._missing -= 1
            if not self._missing:
                self._settle()
        elif answer is Answer.REFUSED:
            self._refused(message, words)
        elif answer is Answer.RETURNED:
            self._no_room(message, f"there is no queue {_place(message)}{words and f': {words}'}", is_final=True)
        else:
            self._no_room(message, f"the queue {_place(message)} takes no more messages", is_final=False)

    def _no_room(self, message: Outgoing, why: str, *, is_final: bool) -> None:
        now_s = time.monotonic()
        self._settler.stuck.has_no_room(message.queue)
        if self._no_room_since_s is None:
            self._no_room_since_s = now_s
        waited_s = now_s - self._no_room_since_s
        if self._kind == "acked" and (is_final or waited_s >= PATIENCE_S):
            self._fail(why)
            return
        if self._kind != "acked" and (waited_s >= PATIENCE_S or self._settler.stuck.is_without_room(message.queue)):
            self._settler.wait_for_room(self._delivery, self._kind, message.queue, why)
        else:
            log.warning("publish failed: %s; trying again", why)
        if self._is_wanted():
            self._settler.loop.call_later(min(MOST_PAUSE_S, max(LEAST_PAUSE_S, waited_s)), lambda: self._send(message))

    def _refused(self, message: Outgoing, words: str) -> None:
        settler, delivery, outcome = self._settler, self._delivery, self._outcome
        if isinstance(outcome, Done):
            self._fail(f"to {message.queue}: {words}")
        elif isinstance(outcome, Retry):
            self.close()
            error = f"{outcome.error} (and its retry was refused: {words})"
            settler.bury(delivery, DeadLetter(reason="refused", error=error, traceback=outcome.traceback))
        elif not self._is_reduced and (smaller := reduced(message, settler.room_bytes)) is not message:
            self._is_reduced = True
            self._send(smaller)
        elif not self._words and settler.home is not None:
            self._words = words
            exchange, key = settler.home
            key = delivery.routing_key.decode("utf-8", "surrogateescape") if key is None else key
            self._send(replace(message, exchange=exchange, queue=key, declare=None))
        else:
            self.close()
            settler.park(delivery, self._kind, self._words or words)

    def look_at_silent(self, queues: Collection[str]) -> None:
        """These answer nothing for now: who waits for one of them is in nobody's way either."""
        settler = self._settler
        queue = next((to for to, count in self._unanswered.items() if count and to in queues), None)
        if queue is not None and not settler.stuck.is_waiting(self._delivery.tag):
            settler.wait_for_room(self._delivery, self._kind, queue, f"no answer to what was published to {queue}")

    def give_up(self) -> None:
        """The confirms come after their time, or never: back to the queue."""
        self.close()
        self._settler.give_back([self._delivery])

    def close(self) -> None:
        """Send nothing more, and heed no answer."""
        self._missing = 0
        self._settler.followed(self._delivery.tag)

    def _is_wanted(self) -> bool:
        return self._missing > 0 and self._settler.ours(self._delivery)

    def _fail(self, why: str) -> None:
        """A publish of the handler's does not arrive: as if the handler had raised."""
        self.close()
        self._settler.apply([(self._delivery, Retry(error=f"publish failed: {why}", traceback=""))])

    def _settle(self) -> None:
        self.close()
        self._settler.settled(self._delivery, self._kind)


def _place(message: Outgoing) -> str:
    """Where ``message`` goes, in words."""
    return f"{message.queue} of exchange {message.exchange}" if message.exchange else message.queue
