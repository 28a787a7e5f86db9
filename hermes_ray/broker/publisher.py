"""Publishing with pipelined confirms: nothing waits for a round trip or is forgotten, no message hurts another."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pika.adapters.select_connection import IOLoop
from pika.channel import Channel

from hermes_ray.broker.late_queues import LateQueues
from hermes_ray.broker.link import Link
from hermes_ray.broker.outgoing import Outgoing
from hermes_ray.broker.properties import Properties
from hermes_ray.broker.refusals import may_break
from hermes_ray.broker.wire import DIRECT, Wire, room_bytes

__all__ = ["Answer", "Publisher"]

log = logging.getLogger(__name__)

OnAnswer = Callable[["Answer", str], None]

_TOO_LARGE = re.compile(r"message size \d+ (?:bytes )?is larger than (?:the )?configured max(?:imum)? size (\d+)")

_DEATHS_BYTES = 1_000  # of x-death and its like, which the broker adds where a message waits: the frame is to hold both
_MOST_TURN_S = 0.5  # for the confirms of one turn, before the next begins all the same


class Answer(StrEnum):
    """What the broker said to one publish."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"  # no queue of that name
    NACKED = "nacked"  # refused, e.g. a full queue with reject-publish
    REFUSED = "refused"  # by what the message itself is: it closes the channel, or would, each time it is sent


@dataclass(slots=True)
class _Entry:
    """One publish, for as long as somebody waits for its answer."""

    message: Outgoing
    on_answer: OnAnswer
    is_wanted: Callable[[], bool]
    is_suspect: bool = False


class Publisher:
    """Publishes on a connection of its own, opened at the first use; lives in the I/O thread of ``loop``.

    Every publish is mandatory and confirmed. One that was sent when the connection broke is sent again on the next:
    its first copy may have arrived. While the broker blocks the connection (an alarm) what is not sent yet waits here.

    What may close the channel is sent alone, in turns with all that waits meanwhile: a first message to a queue that
    has to be declared, and suspects, which had no answer when the broker closed a channel over one of them. So it
    closes the next channel over one that is known, and nobody else is hurt.

    ``wait_rungs_ms``: the delays of the retries that found their wait queue, for any thread to read. A delay leaves it
    when its queue is gone, until that is declared again.
    """

    def __init__(self, loop: IOLoop, urls: Sequence[str], *, name: str, wire: Wire = DIRECT) -> None:
        self._loop, self._wire = loop, wire
        self._link = Link(
            loop, urls, name=name, on_open=self._on_open, on_lost=self._on_lost, on_refused=self._on_refused, wire=wire
        )
        self._channel: Channel | None = None
        self._waiting: deque[_Entry] = deque()
        self._alone: deque[_Entry] = deque()
        self._is_one = False  # what is on its way is one of those
        self._sent: OrderedDict[int, _Entry] = OrderedDict()
        self._returned: Counter[tuple[str, str | None]] = Counter()
        self._queues = LateQueues()
        self._sent_s = 0.0
        self._is_looking = False  # whether somebody looks when the turn has taken its time
        self._connection: object = None
        self._blocked_by: str | None = None
        self._next_tag = 1
        self._most_body_bytes: int | None = None
        self._lost_reason: str | None = None
        self.wait_rungs_ms: frozenset[int] = frozenset()

    @property
    def lost_reason(self) -> str | None:
        """Why what waits cannot be sent; None where it can, or nothing waits. For any thread."""
        return self._blocked_by or (self._lost_reason if self._waiting or self._alone else None)

    def publish(self, message: Outgoing, on_answer: OnAnswer, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Send ``message``; ``on_answer`` is called in the I/O thread with what the broker has answered, and its words.

        What it raises is logged and has no other effect. What is not ``is_wanted`` any more when its turn comes, or at
        ``withdraw``, is not sent.
        """
        entry = _Entry(message, on_answer, is_wanted)
        (self._alone if self._may_close(message) else self._waiting).append(entry)
        if self._channel is None:
            self._link.open()
        else:
            self._go_on()

    def withdraw(self) -> None:
        """Forget what waits and is not wanted any more: there is no connection, and copies would become more."""
        self._waiting = deque(entry for entry in self._waiting if entry.is_wanted())
        self._alone = deque(entry for entry in self._alone if entry.is_wanted())
        self._go_on()

    def forget(self) -> None:
        """Drop what has no answer yet: the deliveries it belongs to went back to the broker."""
        self._waiting.clear()
        self._alone.clear()
        # Their answers still come, and must not be taken for those of later copies with the same ids.
        for entry in self._sent.values():
            entry.on_answer = _ignore

    def close(self, on_closed: Callable[[], None]) -> None:
        """Close the connection; publishes without an answer never get one."""
        self._link.close(on_closed)

    def _on_open(self, channel: Channel) -> None:
        if channel.connection is not self._connection:
            self._connection, self._blocked_by = channel.connection, None
            channel.connection.add_on_connection_blocked_callback(
                lambda _, frame: self._on_blocked(frame.method.reason)
            )
            channel.connection.add_on_connection_unblocked_callback(lambda _, _frame: self._on_blocked(None))
        self._wire.hear_answers(channel, self._on_return, self._on_confirm, lambda _frame: self._on_ready(channel))

    def _on_ready(self, channel: Channel) -> None:
        self._link.ready()
        self._channel = channel
        self._next_tag = 1
        self._queues.begin()
        self._lost_reason = None
        self._alone.extend(entry for entry in self._waiting if self._may_close(entry.message))
        self._waiting = deque(entry for entry in self._waiting if not self._may_close(entry.message))
        if not self._waiting and not self._alone:
            self._link.working()
        self._go_on()

    def _may_close(self, message: Outgoing) -> bool:
        """Whether the broker may close the channel over it, though nothing is wrong with the message."""
        return self._queues.to_declare(message) is not None or may_break(message.queue)

    def _on_blocked(self, reason: str | None) -> None:
        """What is written while the broker reads nothing could not be withdrawn any more."""
        self._blocked_by = None if reason is None else f"the broker takes no publishes now: {reason}"
        self._go_on()

    def _is_turn_of_others(self) -> bool:
        """Whether answers are waited for before anything else is sent; not for ever, as one may never come."""
        if not (self._sent and (self._is_one or self._alone)):
            return False
        left_s = self._sent_s + _MOST_TURN_S - time.monotonic()
        if left_s > 0 and not self._is_looking:
            self._is_looking = True
            self._loop.call_later(left_s, self._look_again)
        return left_s > 0

    def _look_again(self) -> None:
        self._is_looking = False
        self._go_on()

    def _go_on(self) -> None:
        """Send all that waits; but what is sent alone, and what waits meanwhile, each when the other is answered."""
        while self._channel is not None and self._blocked_by is None and not self._is_turn_of_others():
            while self._alone and not (self._alone[0].is_suspect or self._may_close(self._alone[0].message)):
                self._waiting.append(self._alone.popleft())
            if self._alone and not (self._is_one and self._waiting):
                self._is_one = True
                self._send(self._channel, self._alone.popleft(), self._alone)
            else:
                self._is_one = False
                if not self._waiting:
                    return
                for _ in range(len(self._waiting)):
                    if self._channel is not None:
                        self._send(self._channel, self._waiting.popleft(), self._waiting)

    def _send(self, channel: Channel, entry: _Entry, came_from: deque[_Entry]) -> None:
        if not entry.is_wanted():
            return
        if self._queues.is_absent(entry.message, time.monotonic()):
            self._loop.call_later(0, lambda: self._answer(entry, Answer.RETURNED))
            return
        why = self._too_large(channel, entry.message)
        if not why and not channel.is_open:  # it is closing: what is not sent comes with the next
            came_from.appendleft(entry)
            self._channel = None
            return
        try:
            if not why:
                self._put_on_wire(channel, entry.message)
        except Exception as error:
            why = f"it cannot be sent: {error}"
        if why:
            # Not at once: who is answered publishes something else, and many of those would call each other for ever.
            self._loop.call_later(0, lambda: self._answer(entry, Answer.REFUSED, why))
        else:
            self._sent[self._next_tag] = entry
            self._next_tag += 1
            self._sent_s = time.monotonic()

    def _put_on_wire(self, channel: Channel, message: Outgoing) -> None:
        if (arguments := self._queues.to_declare(message)) is not None:
            # Without a reply to wait for: the broker works through a channel in order, and a refusal closes it.
            channel.queue_declare(message.queue, durable=True, arguments=dict(arguments))
            self._queues.declared(message.queue)
        self._wire.publish(channel, message)

    def _too_large(self, channel: Channel, message: Outgoing) -> str:
        size, most, room = len(message.body), self._most_body_bytes, room_bytes(channel)
        if most is not None and size > most:
            return f"its body of {size} bytes is larger than the broker's max_message_size of {most}"
        if message.delay_ms is not None:
            room -= _DEATHS_BYTES
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
                self._answer(entry, answer)
        else:
            while self._sent and next(iter(self._sent)) <= tag:
                _, entry = self._sent.popitem(last=False)
                self._answer(entry, answer)
        if self._is_one or self._alone or self._waiting:
            self._go_on()

    def _answer(self, entry: _Entry, answer: Answer, words: str = "") -> None:
        message = entry.message
        if self._returned:
            key = (message.queue, message.properties.get("message_id"))
            if self._returned[key] > 0:
                self._returned[key] -= 1
                answer = Answer.RETURNED
                self._queues.returned(message.queue, time.monotonic())
            if not self._returned[key]:
                del self._returned[key]
        if answer is Answer.CONFIRMED:
            self._queues.confirmed(message.queue)
        if message.delay_ms is not None and answer is not Answer.REFUSED:
            self._note_wait_queue(message.delay_ms, exists=answer is not Answer.RETURNED)
        try:
            entry.on_answer(answer, words)
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
        is_of_queue = self._queues.refused(reason)  # then all that was on its way is sent again
        is_one, sent = len(self._sent) == 1, self._take_sent()  # those that nobody waits for may be to blame too
        is_known = is_of_queue or (size is not None and any(len(each.message.body) > int(size[1]) for each in sent))
        if is_one and sent and not is_of_queue:
            self._answer(sent[0], Answer.REFUSED, reason)
        else:
            for each in sent:
                each.is_suspect = not is_known
            (self._waiting if is_known else self._alone).extendleft(reversed(sent))

    def _on_lost(self, reason: str) -> None:
        self._lost_reason, self._blocked_by = reason, None
        self._most_body_bytes = None  # the next broker may take more
        (self._alone if self._is_one else self._waiting).extendleft(reversed(self._take_sent()))

    def _take_sent(self) -> list[_Entry]:
        """What has no answer, and gets none on this channel any more."""
        self._channel = None
        self._returned.clear()
        sent = [entry for entry in self._sent.values() if entry.on_answer is not _ignore]
        self._sent.clear()
        return sent


def _ignore(_answer: Answer, _words: str) -> None:
    return None
