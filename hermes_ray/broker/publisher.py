"""Publishing with pipelined confirms: nothing waits for a round trip, nothing is forgotten."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from enum import StrEnum

from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic, BasicProperties

from hermes_ray.broker.link import Link
from hermes_ray.broker.outgoing import Outgoing

__all__ = ["Answer", "Publisher"]

log = logging.getLogger(__name__)

OnAnswer = Callable[["Answer"], None]


class Answer(StrEnum):
    """What the broker said to one publish."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"  # no queue of that name
    NACKED = "nacked"  # refused, e.g. a full queue with reject-publish


class Publisher:
    """Publishes on a connection of its own, opened at the first use; lives in the I/O thread of ``loop``.

    Every publish is mandatory and confirmed. One that was sent when the connection broke is sent again on the next:
    its first copy may have arrived. A blocked connection (a broker's alarm) only makes the answers late.

    ``wait_rungs_ms``: the delays of the retries that found their wait queue, for any thread to read. A delay leaves it
    when its queue is gone, until that is declared again.
    """

    def __init__(self, loop: IOLoop, urls: Sequence[str], *, name: str) -> None:
        self._link = Link(loop, urls, name=name, on_open=self._on_open, on_lost=self._on_lost)
        self._channel: Channel | None = None
        self._waiting: deque[tuple[Outgoing, OnAnswer]] = deque()
        self._sent: OrderedDict[int, tuple[Outgoing, OnAnswer]] = OrderedDict()
        self._returned: Counter[tuple[str, str | None]] = Counter()
        self._declared: set[str] = set()
        self._refused: set[str] = set()
        self._next_tag = 1
        self.lost_reason: str | None = None
        self.wait_rungs_ms: frozenset[int] = frozenset()

    def publish(self, message: Outgoing, on_answer: OnAnswer) -> None:
        """Send ``message``; ``on_answer`` is called in the I/O thread when the broker has answered.

        What it raises is logged and has no other effect.
        """
        if self._channel is None:
            self._waiting.append((message, on_answer))
            self._link.open()
        else:
            self._send(self._channel, message, on_answer)

    def forget(self) -> None:
        """Drop what has no answer yet: the deliveries it belongs to went back to the broker."""
        self._waiting.clear()
        # Their answers still come, and must not be taken for those of later copies with the same ids.
        self._sent = OrderedDict((tag, (message, _ignore)) for tag, (message, _) in self._sent.items())

    def close(self, on_closed: Callable[[], None]) -> None:
        """Close the connection; publishes without an answer never get one."""
        self._link.close(on_closed)

    def _on_open(self, channel: Channel) -> None:
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _frame: self._on_ready(channel))

    def _on_ready(self, channel: Channel) -> None:
        self._link.ready()
        self._channel = channel
        self._next_tag = 1
        self._declared.clear()
        if not self._waiting:
            self._link.working()
        waiting, self._waiting = self._waiting, deque()
        for message, on_answer in waiting:
            self._send(channel, message, on_answer)

    def _send(self, channel: Channel, message: Outgoing, on_answer: OnAnswer) -> None:
        if message.declare is not None and message.queue not in self._declared | self._refused:
            # Without a reply to wait for: the broker works through a channel in order, and a refusal closes it.
            channel.queue_declare(message.queue, durable=True, arguments=dict(message.declare))
            self._declared.add(message.queue)
        self._sent[self._next_tag] = (message, on_answer)
        self._next_tag += 1
        channel.basic_publish("", message.queue, message.body, message.properties, mandatory=True)

    def _on_return(self, _channel: Channel, method: Basic.Return, properties: BasicProperties, _body: bytes) -> None:
        # The broker returns a message before it confirms it.
        self._returned[(method.routing_key, properties.message_id)] += 1

    def _on_confirm(self, frame: Method) -> None:
        self._link.working()
        answer = Answer.CONFIRMED if isinstance(frame.method, Basic.Ack) else Answer.NACKED
        tag: int = frame.method.delivery_tag
        if not frame.method.multiple:
            entry = self._sent.pop(tag, None)
            if entry is not None:
                self._answer(*entry, answer)
            return
        while self._sent and next(iter(self._sent)) <= tag:
            _, entry = self._sent.popitem(last=False)
            self._answer(*entry, answer)

    def _answer(self, message: Outgoing, on_answer: OnAnswer, answer: Answer) -> None:
        key = (message.queue, message.properties.message_id)
        if self._returned and self._returned[key] > 0:
            self._returned[key] -= 1
            if not self._returned[key]:
                del self._returned[key]
            answer = Answer.RETURNED
            self._declared.discard(message.queue)
            self._refused.discard(message.queue)
        if message.delay_ms is not None:
            self._note_wait_queue(message.delay_ms, exists=answer is not Answer.RETURNED)
        try:
            on_answer(answer)
        except Exception:
            # pika would end the connection, and all that has no answer yet would be sent again on the next.
            log.exception("what waited for the answer to a publish to %s failed", message.queue)

    def _note_wait_queue(self, delay_ms: int, *, exists: bool) -> None:
        # Replaced, never changed: another thread may be reading it.
        if exists != (delay_ms in self.wait_rungs_ms):
            self.wait_rungs_ms = self.wait_rungs_ms ^ {delay_ms}

    def _on_lost(self, reason: str) -> None:
        self.lost_reason = reason
        self._channel = None
        self._returned.clear()
        # A queue that exists in another form is used as it is; with each refusal all that was on its way is sent again.
        self._refused.update(queue for queue in self._declared if f"queue '{queue}'" in reason)
        unanswered = [entry for entry in self._sent.values() if entry[1] is not _ignore]
        self._waiting.extendleft(reversed(unanswered))
        self._sent.clear()


def _ignore(_answer: Answer) -> None:
    return None
