"""Publishing with pipelined confirms: nothing waits for a round trip or is forgotten, no message hurts another."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pika.adapters.select_connection import IOLoop
from pika.channel import Channel

from hermes_ray.broker.late_queues import LateQueues
from hermes_ray.broker.link import Link
from hermes_ray.broker.outgoing import Outgoing
from hermes_ray.broker.properties import Properties
from hermes_ray.broker.refusals import may_break
from hermes_ray.broker.silent_queues import SilentQueues
from hermes_ray.broker.size_limits import SizeLimits
from hermes_ray.broker.wire import DIRECT, Wire
from hermes_ray.logs import Log

__all__ = ["Answer", "Publisher"]

log = Log(__name__)

OnAnswer = Callable[["Answer", str], None]

_LEAST_TURN_S, _MOST_TURN_S = 0.5, 30.0  # for the confirms of one turn, before the next begins all the same
_RENEW_AFTER_S = 300.0  # a connection on which a queue was full: RabbitMQ 3.10 goes on refusing on it when it is not
_ROUND_TRIPS = 4  # that a turn is at least
_OF_A_CONNECTION = "5"  # begins the reasons for which a broker ends one over something that was sent


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
    is_forgotten: bool = False
    sent_s: float = 0.0


class Publisher:
    """Publishes on a connection of its own, opened at the first use; lives in the I/O thread of ``loop``.

    Every publish is mandatory and confirmed. One that was sent when the connection broke is sent again on the next:
    its first copy may have arrived. While the broker blocks the connection (an alarm) what is not sent yet waits here.

    What may close the channel is sent alone, in turns with all that waits meanwhile: a first message to a queue that
    has to be declared, and suspects, which had no answer when the broker closed a channel over one of them. So it
    closes the next channel over one that is known, and nobody else is hurt. A turn is over after a while all the same,
    since an answer may never come; where refusals take longer than that, turns get longer.

    Where what was sent is not wanted any more before it has an answer, see ``SilentQueues``.

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
        self._silent = SilentQueues[_Entry]()
        self._sent_s = 0.0
        self._turn_s = _LEAST_TURN_S
        self._opened_s = 0.0
        self._is_looking = False  # whether somebody looks when the turn has taken its time
        self._connection: object = None
        self._blocked_by: str | None = None
        self._next_tag = 1
        self._sizes = SizeLimits()
        self._lost_reason: str | None = None
        self.wait_rungs_ms: frozenset[int] = frozenset()

    @property
    def lost_reason(self) -> str | None:
        """Why what waits cannot be sent; None where it can, or nothing waits. For any thread."""
        return self._blocked_by or (self._lost_reason if self._waiting or self._alone else None) or self._silent.reason

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
        """Forget what waits and is not wanted any more, and of what was sent all but that it has no answer."""
        self._waiting = deque(entry for entry in self._waiting if entry.is_wanted())
        self._alone = deque(entry for entry in self._alone if entry.is_wanted())
        self._silent.next_round(lambda entry: entry.is_wanted())
        for entry in self._sent.values():
            if not entry.is_forgotten and not entry.is_wanted():
                entry.message, entry.is_forgotten = replace(entry.message, body=b""), True
                self._silent.mark(entry.message.queue)
        self._go_on()

    def forget(self) -> None:
        """Drop what has no answer yet: the deliveries it belongs to went back to the broker."""
        self._waiting.clear()
        self._alone.clear()
        self._silent.clear()
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
        self._channel, self._opened_s = channel, time.monotonic()
        self._next_tag = 1
        self._queues.begin()
        self._waiting.extend(self._silent.clear())
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
        left_s = self._sent_s + self._turn_s - time.monotonic()
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
        message = entry.message
        if not entry.is_wanted() or (self._silent.reason and self._silent.hold_back(message.queue, entry)):
            return
        absent = None if message.declare is None else self._queues.why_absent(message.queue, time.monotonic())
        if absent is not None:
            self._loop.call_later(0, lambda: self._answer(entry, Answer.RETURNED, absent))
            return
        why = self._sizes.why_too_large(channel, message)
        if not why and not channel.is_open:  # it is closing: what is not sent comes with the next
            came_from.appendleft(entry)
            self._channel = None
            return
        try:
            if not why:
                self._put_on_wire(channel, message)
        except Exception as error:
            why = f"it cannot be sent: {error}"
        if why:
            # Not at once: who is answered publishes something else, and many of those would call each other for ever.
            self._loop.call_later(0, lambda: self._answer(entry, Answer.REFUSED, why))
        else:
            if self._silent.reason:
                self._silent.sent(message.queue)
            self._sent[self._next_tag] = entry
            self._next_tag += 1
            self._sent_s = entry.sent_s = time.monotonic()

    def _put_on_wire(self, channel: Channel, message: Outgoing) -> None:
        if (arguments := self._queues.to_declare(message)) is not None:
            # Without a reply to wait for: the broker works through a channel in order, and a refusal closes it.
            channel.queue_declare(message.queue, durable=True, arguments=dict(arguments))
            self._queues.declared(message.queue)
        self._wire.publish(channel, message)

    def _on_return(self, routing_key: str, raw: bytes) -> None:
        # The broker returns a message before it confirms it.
        self._returned[(routing_key, Properties(raw).get("message_id"))] += 1

    def _on_confirm(self, tag: int, is_multiple: bool, is_ack: bool) -> None:
        self._link.working()
        answer = Answer.CONFIRMED if is_ack else Answer.NACKED
        if not is_multiple:
            entry = self._sent.pop(tag, None)
            if entry is not None:
                if self._turn_s > _LEAST_TURN_S:
                    self._turn_s = max(
                        _LEAST_TURN_S, min(self._turn_s, _ROUND_TRIPS * (time.monotonic() - entry.sent_s))
                    )
                self._heard(entry, answer)
        else:
            while self._sent and next(iter(self._sent)) <= tag:
                _, entry = self._sent.popitem(last=False)
                self._heard(entry, answer)
        if self._is_one or self._alone or self._waiting:
            self._go_on()
        if not is_ack and not self._sent and time.monotonic() - self._opened_s > _RENEW_AFTER_S:
            self._link.reset("a queue was full for long")

    def _heard(self, entry: _Entry, answer: Answer) -> None:
        if self._silent.reason:
            self._waiting.extend(self._silent.heard(entry.message.queue))
        self._answer(entry, answer)

    def _answer(self, entry: _Entry, answer: Answer, words: str = "") -> None:
        message = entry.message
        if self._returned:
            key = (message.queue, message.properties.get("message_id"))
            if self._returned[key] > 0:
                self._returned[key] -= 1
                answer = Answer.RETURNED
                words = self._queues.returned(message.queue, time.monotonic())
            if not self._returned[key]:
                del self._returned[key]
        if answer is Answer.CONFIRMED and message.declare is not None:
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
        is_of_size = self._sizes.learn(reason)
        is_of_queue = self._queues.refused(reason)  # then all that was on its way is sent again
        is_one, sent = len(self._sent) == 1, self._take_sent()  # those that nobody waits for may be to blame too
        is_known = is_of_queue or (is_of_size and any(self._sizes.is_body_too_large(each.message) for each in sent))
        self._make_turns_long_enough(sent)
        # Where a whole connection ends nothing says over what: once is not enough to blame who was on its way alone.
        if is_one and sent and not is_of_queue and (sent[0].is_suspect or not reason.startswith(_OF_A_CONNECTION)):
            self._answer(sent[0], Answer.REFUSED, reason)
        else:
            for each in sent:
                each.is_suspect = not is_known
            (self._waiting if is_known else self._alone).extendleft(reversed(sent))

    def _make_turns_long_enough(self, refused: Sequence[_Entry]) -> None:
        """Where a turn was over before the refusal came, several suspects went on their way together."""
        if len(refused) > 1 and self._is_one:
            took_s = time.monotonic() - sorted(each.sent_s for each in refused)[-2]
            self._turn_s = min(_MOST_TURN_S, max(self._turn_s, _ROUND_TRIPS * took_s))

    def _on_lost(self, reason: str) -> None:
        self._lost_reason, self._blocked_by = reason, None
        self._sizes = SizeLimits()  # the next broker may take more
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
