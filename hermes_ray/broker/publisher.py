"""Publishing with pipelined confirms: nothing waits for a round trip or is forgotten, no message hurts another."""

from __future__ import annotations

import logging
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from enum import StrEnum

from pika.adapters.select_connection import IOLoop
from pika.channel import Channel

from hermes_ray.broker.link import Link
from hermes_ray.broker.outgoing import Outgoing
from hermes_ray.broker.properties import Properties
from hermes_ray.broker.wire import DIRECT, Wire, room_bytes

__all__ = ["Answer", "Publisher"]

log = logging.getLogger(__name__)

OnAnswer = Callable[["Answer", str], None]

_TOO_LARGE = re.compile(r"message size \d+ (?:bytes )?is larger than (?:the )?configured max(?:imum)? size (\d+)")


class Answer(StrEnum):
    """What the broker said to one publish."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"  # no queue of that name
    NACKED = "nacked"  # refused, e.g. a full queue with reject-publish
    REFUSED = "refused"  # by what the message itself is: it closes the channel, or would, each time it is sent


class Publisher:
    """Publishes on a connection of its own, opened at the first use; lives in the I/O thread of ``loop``.

    Every publish is mandatory and confirmed. One that was sent when the connection broke is sent again on the next:
    its first copy may have arrived. A blocked connection (a broker's alarm) only makes the answers late.

    Where the broker closes the channel over one of those that it has not answered, they are suspects: they are sent
    again one at a time, so that it closes the next channel over one that is known, and the others go through.

    ``wait_rungs_ms``: the delays of the retries that found their wait queue, for any thread to read. A delay leaves it
    when its queue is gone, until that is declared again.
    """

    def __init__(self, loop: IOLoop, urls: Sequence[str], *, name: str, wire: Wire = DIRECT) -> None:
        self._loop, self._wire = loop, wire
        self._link = Link(
            loop, urls, name=name, on_open=self._on_open, on_lost=self._on_lost, on_refused=self._on_refused, wire=wire
        )
        self._channel: Channel | None = None
        self._waiting: deque[tuple[Outgoing, OnAnswer]] = deque()
        self._suspects: deque[tuple[Outgoing, OnAnswer]] = deque()
        self._is_testing = False  # what is on its way is one suspect
        self._sent: OrderedDict[int, tuple[Outgoing, OnAnswer]] = OrderedDict()
        self._returned: Counter[tuple[str, str | None]] = Counter()
        self._declared: set[str] = set()
        self._refused: set[str] = set()
        self._next_tag = 1
        self._most_body_bytes: int | None = None
        self.lost_reason: str | None = None
        self.wait_rungs_ms: frozenset[int] = frozenset()

    def publish(self, message: Outgoing, on_answer: OnAnswer) -> None:
        """Send ``message``; ``on_answer`` is called in the I/O thread with what the broker has answered, and its words.

        What it raises is logged and has no other effect.
        """
        self._waiting.append((message, on_answer))
        if self._channel is None:
            self._link.open()
        else:
            self._go_on()

    def forget(self) -> None:
        """Drop what has no answer yet: the deliveries it belongs to went back to the broker."""
        self._waiting.clear()
        self._suspects.clear()
        # Their answers still come, and must not be taken for those of later copies with the same ids.
        self._sent = OrderedDict((tag, (message, _ignore)) for tag, (message, _) in self._sent.items())

    def close(self, on_closed: Callable[[], None]) -> None:
        """Close the connection; publishes without an answer never get one."""
        self._link.close(on_closed)

    def _on_open(self, channel: Channel) -> None:
        self._wire.hear_answers(channel, self._on_return, self._on_confirm, lambda _frame: self._on_ready(channel))

    def _on_ready(self, channel: Channel) -> None:
        self._link.ready()
        self._channel = channel
        self._next_tag = 1
        self._declared.clear()
        if not self._waiting and not self._suspects:
            self._link.working()
        self._go_on()

    def _go_on(self) -> None:
        """Send the next suspect, once the one before has its answer; else all that waits."""
        while (channel := self._channel) is not None and not (self._is_testing and self._sent):
            self._is_testing = bool(self._suspects)
            queue = self._suspects or self._waiting
            if not queue:
                return
            self._send(channel, *queue.popleft())

    def _send(self, channel: Channel, message: Outgoing, on_answer: OnAnswer) -> None:
        why = self._too_large(channel, message)
        if not why and not channel.is_open:  # it is closing: what is not sent comes with the next
            self._waiting.append((message, on_answer))
            self._channel = None
            return
        try:
            if not why:
                self._put_on_wire(channel, message)
        except Exception as error:
            why = f"it cannot be sent: {error}"
        if why:
            # Not at once: who is answered publishes something else, and many of those would call each other for ever.
            self._loop.call_later(0, lambda: self._answer(message, on_answer, Answer.REFUSED, why))
        else:
            self._sent[self._next_tag] = (message, on_answer)
            self._next_tag += 1

    def _put_on_wire(self, channel: Channel, message: Outgoing) -> None:
        if message.declare is not None and message.queue not in self._declared | self._refused:
            # Without a reply to wait for: the broker works through a channel in order, and a refusal closes it.
            channel.queue_declare(message.queue, durable=True, arguments=dict(message.declare))
            self._declared.add(message.queue)
        self._wire.publish(channel, message)

    def _too_large(self, channel: Channel, message: Outgoing) -> str:
        size, most, room = len(message.body), self._most_body_bytes, room_bytes(channel)
        if most is not None and size > most:
            return f"its body of {size} bytes is larger than the broker's max_message_size of {most}"
        if len(message.properties.raw) > room:
            return f"its headers of {len(message.properties.raw)} bytes are more than the {room} of a frame"
        return ""

    def _on_return(self, routing_key: str, raw: bytes) -> None:
        # The broker returns a message before it confirms it.
        self._returned[(routing_key, Properties(raw).get("message_id"))] += 1

    def _on_confirm(self, tag: int, is_multiple: bool, is_ack: bool) -> None:
        self._link.working()
        answer = Answer.CONFIRMED if is_ack else Answer.NACKED
        if not is_multiple:
            entry = self._sent.pop(tag, None)
            if entry is not None:
                self._answer(*entry, answer)
        else:
            while self._sent and next(iter(self._sent)) <= tag:
                _, entry = self._sent.popitem(last=False)
                self._answer(*entry, answer)
        if self._is_testing:
            self._go_on()

    def _answer(self, message: Outgoing, on_answer: OnAnswer, answer: Answer, words: str = "") -> None:
        if self._returned:
            key = (message.queue, message.properties.get("message_id"))
            if self._returned[key] > 0:
                self._returned[key] -= 1
                answer = Answer.RETURNED
                self._declared.discard(message.queue)
                self._refused.discard(message.queue)
            if not self._returned[key]:
                del self._returned[key]
        if message.delay_ms is not None and answer is not Answer.REFUSED:
            self._note_wait_queue(message.delay_ms, exists=answer is not Answer.RETURNED)
        try:
            on_answer(answer, words)
        except Exception:
            # pika would end the connection, and all that has no answer yet would be sent again on the next.
            log.exception("what waited for the answer to a publish to %s failed", message.queue)

    def _note_wait_queue(self, delay_ms: int, *, exists: bool) -> None:
        # Replaced, never changed: another thread may be reading it.
        if exists != (delay_ms in self.wait_rungs_ms):
            self.wait_rungs_ms = self.wait_rungs_ms ^ {delay_ms}

    def _on_refused(self, reason: str) -> None:
        """The broker closed the channel, or the connection, over something that came on it."""
        if size := _TOO_LARGE.search(reason):
            self._most_body_bytes = int(size[1])
        # A queue that exists in another form is used as it is; with each refusal all that was on its way is sent again.
        declared = {queue for queue in self._declared if _is_about(reason, queue)}
        self._refused.update(declared)
        is_one, sent = len(self._sent) == 1, self._take_sent()  # those that nobody waits for may be to blame too
        is_known = bool(declared) or (size is not None and any(len(m.body) > int(size[1]) for m, _ in sent))
        if is_one and sent and not declared:
            self._answer(*sent[0], Answer.REFUSED, reason)
        else:
            (self._waiting if is_known else self._suspects).extendleft(reversed(sent))

    def _on_lost(self, reason: str) -> None:
        self.lost_reason = reason
        self._most_body_bytes = None  # the next broker may take more
        (self._suspects if self._is_testing else self._waiting).extendleft(reversed(self._take_sent()))

    def _take_sent(self) -> list[tuple[Outgoing, OnAnswer]]:
        """What has no answer, and gets none on this channel any more."""
        self._channel = None
        self._returned.clear()
        sent = [entry for entry in self._sent.values() if entry[1] is not _ignore]
        self._sent.clear()
        return sent


def _is_about(reason: str, queue: str) -> bool:
    """Whether the broker refuses something about ``queue``; its text ends with dots after 255 bytes, in a name too."""
    _, found, rest = reason.partition("queue '")
    if f"{queue}'" == rest[: len(queue) + 1]:
        return True
    name, is_cut, _ = rest.rpartition("...")
    return bool(found and is_cut) and queue.startswith(name.rstrip("\N{REPLACEMENT CHARACTER}"))


def _ignore(_answer: Answer, _words: str) -> None:
    return None
