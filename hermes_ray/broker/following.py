"""The messages that one delivery leaves behind, until the broker has confirmed them all."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.outgoing import Outgoing, reduced
from hermes_ray.broker.publisher import Answer
from hermes_ray.outcome import DeadLetter, Done, Retry

if TYPE_CHECKING:
    from hermes_ray.broker.settlement import Settler

__all__ = ["Following", "Kind"]

log = logging.getLogger(__name__)

Kind = Literal["acked", "retried", "dead_lettered_permanent", "dead_lettered_attempts"]

REPUBLISH_DELAY_S = 1.0  # after the broker had no room for a retry or dead letter
PUBLISH_TRIES = 3  # of a handler's publish to a queue that is full: then its delivery waits with the retries


class Following:
    """The publishes of one delivery, which is settled when all are confirmed.

    A retry or dead letter for which there is no room is sent again for as long as the delivery is ours: nothing is lost
    while a queue is missing or full. What the broker refuses for what it is is not sent again: a retry becomes a dead
    letter, a dead letter loses headers. A handler's publish that does not arrive fails the delivery, at once or after a
    few tries.
    """

    __slots__ = ("_delivery", "_is_reduced", "_kind", "_missing", "_outcome", "_settler", "_since_s", "_tries")

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
        self._is_reduced = False
        self._since_s = time.monotonic()
        self._tries = 0  # that the broker had no room for
        settler.following[delivery.tag] = self
        for message in messages:
            self._send(message)

    def _send(self, message: Outgoing) -> None:
        if self._is_wanted():
            self._settler.publisher.publish(
                message, lambda answer, words: self._on_answer(message, answer, words), self._is_wanted
            )

    def _on_answer(self, message: Outgoing, answer: Answer, words: str) -> None:
        if not self._is_wanted():
            return
        if answer is Answer.CONFIRMED or (answer is Answer.RETURNED and message.may_be_lost):
            self._missing -= 1
            if not self._missing:
                self._settle()
        elif answer is Answer.REFUSED:
            self._refused(message, words)
        elif answer is Answer.RETURNED and self._kind == "acked":
            self._fail(f"there is no queue {message.queue}")
        elif self._kind == "acked" and self._tries == PUBLISH_TRIES:
            self._fail(f"the queue {message.queue} takes no more messages")
        else:
            self._tries += 1
            log.warning("publish to %s was %s; trying again", message.queue, answer)
            self._settler.loop.call_later(REPUBLISH_DELAY_S, lambda: self._send(message))

    def _refused(self, message: Outgoing, words: str) -> None:
        settler, delivery, outcome = self._settler, self._delivery, self._outcome
        if isinstance(outcome, Done):
            self._fail(f"to {message.queue}: {words}")
        elif isinstance(outcome, Retry):
            self._close()
            error = f"{outcome.error} (and its retry was refused: {words})"
            settler.bury(delivery, DeadLetter(reason="refused", error=error, traceback=outcome.traceback))
        elif not self._is_reduced:
            self._is_reduced = True
            self._send(reduced(message, settler.room_bytes))
        else:
            self._close()
            settler.hold(delivery, self._kind, words)

    def give_up_unless_new(self, now_s: float, least_s: float) -> None:
        """The confirms come too late: back to the queue, unless they are waited for since less than ``least_s``."""
        if now_s - self._since_s >= least_s:
            self._close()
            self._settler.give_back([self._delivery])

    def _is_wanted(self) -> bool:
        return self._missing > 0 and self._settler.ours(self._delivery)

    def _close(self) -> None:
        self._missing = 0
        self._settler.following.pop(self._delivery.tag, None)

    def _fail(self, why: str) -> None:
        """A publish of the handler's does not arrive: as if the handler had raised."""
        self._close()
        self._settler.apply([(self._delivery, Retry(error=f"publish failed: {why}", traceback=""))])

    def _settle(self) -> None:
        self._close()
        self._settler.settled(self._delivery, self._kind)
