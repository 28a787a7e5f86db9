"""Publishing with pipelined confirms: nothing waits for a round trip or is forgotten, no message hurts another."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from pika.adapters.select_connection import IOLoop
from pika.channel import Channel

from hermes_ray.broker.answer_watch import AnswerWatch
from hermes_ray.broker.first_use_queues import FirstUseQueues
from hermes_ray.broker.link import Link
from hermes_ray.broker.outgoing import Outgoing
from hermes_ray.broker.publish_entry import Answer, Entry, OnAnswer
from hermes_ray.broker.publish_turns import PublishTurns
from hermes_ray.broker.refusals import may_break
from hermes_ray.broker.returns import Returns
from hermes_ray.broker.silent_queues import SilentQueues
from hermes_ray.broker.size_limits import SizeLimits
from hermes_ray.broker.upload import Upload
from hermes_ray.broker.wire import DIRECT, Wire
from hermes_ray.logs import Log

__all__ = ["Answer", "Publisher"]

log = Log(__name__)

_RENEW_AFTER_S = 300.0  # a connection on which a queue was full: RabbitMQ 3.10 goes on refusing on it when it is not
_WAS_FULL = "a queue was full for long"
_SILENCE_S = 10.0  # a channel that answers nothing for so long stands still
_OF_A_CONNECTION = "5"  # begins the reasons for which a broker ends one over something that was sent


class Publisher:
    """Publishes on a connection of its own, opened at the first use; lives in the I/O thread of ``loop``.

    Every publish is mandatory and confirmed. One that was sent when the connection broke is sent again on the next:
    its first copy may have arrived. While the broker blocks the connection (an alarm) what is not sent yet waits here.

    What may close the channel is sent alone, see ``PublishTurns``: a first message to a queue that has to be declared,
    and suspects, which had no answer when the broker closed a channel over one of them. So it closes the next channel
    over one that is known, and nobody else is hurt. Where what was sent is not wanted any more before it has an answer,
    see ``SilentQueues``; where nothing at all is answered, ``AnswerWatch``.

    ``wait_rungs_ms``: the delays of the retries that found their wait queue, for any thread to read. A delay leaves it
    when its queue is gone, until that is declared again.
    """

    def __init__(self, loop: IOLoop, urls: Sequence[str], *, name: str, wire: Wire = DIRECT) -> None:
        self._loop, self._wire = loop, wire
        self._link = Link(
            loop, urls, name=name, on_open=self._on_open, on_lost=self._on_lost, on_refused=self._on_refused, wire=wire
        )
        self._channel: Channel | None = None
        self._turns = PublishTurns[Entry](self._goes_alone)
        self._sent: OrderedDict[int, Entry] = OrderedDict()
        self._returned = Returns()
        self._queues = FirstUseQueues()
        self.silent = SilentQueues[Entry]()
        self._watch, self._upload = AnswerWatch(self.silent), Upload()
        self._opened_s = 0.0
        self._is_to_end = False  # whether nothing more is sent on this connection
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
        return self._blocked_by or (self._lost_reason if self._turns.is_waiting else None) or self.silent.reason

    def publish(self, message: Outgoing, on_answer: OnAnswer, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Send ``message``; ``on_answer`` is called in the I/O thread with what the broker has answered, and its words.

        What it raises is logged and has no other effect. What is not ``is_wanted`` any more when its turn comes, or at
        ``withdraw``, is not sent.
        """
        self._turns.add(Entry(message, on_answer, is_wanted))
        if self._channel is None:
            self._link.open()
        else:
            self._go_on()

    def withdraw(self) -> None:
        """Forget what waits and is not wanted any more, and of what was sent all but that it has no answer."""
        self._turns.keep(lambda entry: entry.is_wanted())
        self.silent.next_round(lambda entry: entry.is_wanted())
        for entry in self._sent.values():
            if not entry.is_forgotten and not entry.is_wanted():
                entry.message, entry.is_forgotten = replace(entry.message, body=b""), True
                self.silent.mark(entry.message.queue)
        self._go_on()

    def forget(self) -> None:
        """Drop what has no answer yet: the deliveries it belongs to went back to the broker."""
        self._turns.clear()
        self.silent.next_round(lambda _entry: False)  # this channel still owes their answers
        # Their answers still come, and must not be taken for those of later copies with the same ids.
        for entry in self._sent.values():
            entry.on_answer = _ignore

    def close(self, on_closed: Callable[[], None]) -> None:
        """Close the connection; publishes without an answer never get one."""
        self._link.close(on_closed, is_read=self._blocked_by is None)

    def _on_open(self, channel: Channel) -> None:
        connection = channel.connection
        if connection is not self._connection:
            self._connection, self._blocked_by = connection, None
            connection.add_on_connection_blocked_callback(lambda _, frame: self._on_blocked(frame.method.reason))
            connection.add_on_connection_unblocked_callback(lambda _, _frame: self._on_blocked(None))
        self._wire.hear_answers(channel, self._returned.note, self._on_confirm, lambda _frame: self._on_ready(channel))

    def _on_ready(self, channel: Channel) -> None:
        self._link.ready()
        self._channel, self._opened_s, self._next_tag = channel, time.monotonic(), 1
        self._queues.begin()
        self._lost_reason, self._is_to_end = None, False
        self._turns.sort()
        self._turns.add(*self._watch.begin(self._opened_s))
        self._loop.call_later(_SILENCE_S, lambda: self._look_for_answers(channel))
        if not self._turns.is_waiting:
            self._link.working()
        self._go_on()

    def _goes_alone(self, entry: Entry) -> bool:
        """Whether the broker may close the channel over it, or answer nothing behind it."""
        message = entry.message
        return entry.is_suspect or entry.is_trial or self._queues.may_close(message) or may_break(message.queue)

    def _look_for_answers(self, channel: Channel) -> None:
        if channel is not self._channel:
            return
        self._loop.call_later(_SILENCE_S, lambda: self._look_for_answers(channel))
        now_s = time.monotonic()
        self._watch.is_answering |= self._upload.look(channel)
        if self._blocked_by is None and self._watch.is_in_the_way(self._sent.values(), now_s):
            self._renew(channel, "nothing is answered that was published")
        elif tries := self._watch.tries(self._sent.values(), now_s):
            self._turns.add(*tries)
            self._go_on()

    def _renew(self, channel: Channel | None, reason: str) -> None:
        if channel is None or channel is not self._channel:
            return
        self._channel = None
        self._watch.renew(self._sent.values(), time.monotonic())
        (self._link.abandon if self._sent else self._link.reset)(reason)

    def _on_blocked(self, reason: str | None) -> None:
        """What is written while the broker reads nothing could not be withdrawn any more."""
        self._watch.is_answering = True
        self._blocked_by = None if reason is None else f"the broker takes no publishes now: {reason}"
        self._go_on()

    def _is_turn_of_others(self) -> bool:
        """Whether answers are waited for before anything else is sent; not for ever, as one may never come."""
        left_s = self._turns.left_s(time.monotonic()) if self._sent else 0.0
        if left_s > 0 and not self._is_looking:
            self._is_looking = True
            self._loop.call_later(left_s, self._look_again)
        return left_s > 0

    def _look_again(self) -> None:
        self._is_looking = False
        self._go_on()

    def _go_on(self) -> None:
        """Send all that waits; but what is sent alone, and what waits meanwhile, each when the other is answered."""
        while self._channel is not None and not (self._blocked_by or self._is_to_end or self._is_turn_of_others()):
            entries = self._turns.take()
            if not entries:
                return
            for number, entry in enumerate(entries):
                if not self._send(self._channel, entry):  # it is closing: what is not sent comes with the next
                    self._channel = None
                    self._turns.put_back(entries[number:])
                    return

    def _send(self, channel: Channel, entry: Entry) -> bool:
        """Whether it is sent, or need not be any more; not where ``channel`` is closing."""
        message = entry.message
        if not entry.is_wanted() or (self.silent.reason and self.silent.keep_back(message.queue, entry)):
            return True
        absent = None if message.declare is None else self._queues.why_absent(message.queue, time.monotonic())
        if absent is not None:
            self._loop.call_later(0, lambda: self._answer(entry, Answer.RETURNED, absent))
            return True
        why = self._sizes.why_too_large(channel, message)
        if not why and not channel.is_open:
            return False
        try:
            if not why:
                self._put_on_wire(channel, message)
        except Exception as error:
            why = f"it cannot be sent: {error}"
        if why:
            # Not at once: who is answered publishes something else, and many of those would call each other for ever.
            self._loop.call_later(0, lambda: self._answer(entry, Answer.REFUSED, why))
        else:
            if self.silent.reason:
                self.silent.sent(message.queue)
            self._sent[self._next_tag] = entry
            self._next_tag += 1
            entry.sent_s = time.monotonic()
            self._turns.sent(entry.sent_s)
        return True

    def _put_on_wire(self, channel: Channel, message: Outgoing) -> None:
        if (arguments := self._queues.to_declare(message)) is not None:
            # Without a reply to wait for: the broker works through a channel in order, and a refusal closes it.
            channel.queue_declare(message.queue, durable=True, arguments=dict(arguments))
            self._queues.declared(message.queue)
        self._wire.publish(channel, message)

    def _on_confirm(self, tag: int, is_multiple: bool, is_ack: bool) -> None:
        self._link.working()
        self._watch.is_answering = True
        answer = Answer.CONFIRMED if is_ack else Answer.NACKED
        if not is_multiple:
            entry = self._sent.pop(tag, None)
            if entry is not None:
                if self._turns.is_long:
                    self._turns.answered(time.monotonic() - entry.sent_s)
                self._heard(entry, answer)
        else:
            while self._sent and next(iter(self._sent)) <= tag:
                _, entry = self._sent.popitem(last=False)
                self._heard(entry, answer)
        if self._turns.is_ordered:
            self._go_on()
        if not is_ack and not self._is_to_end and time.monotonic() - self._opened_s > _RENEW_AFTER_S:
            self._is_to_end = True  # when all is answered, or after a while, since an answer may never come
            self._loop.call_later(_SILENCE_S, partial(self._renew, self._channel, _WAS_FULL))
        if self._is_to_end and not self._sent:
            self._renew(self._channel, _WAS_FULL)

    def _heard(self, entry: Entry, answer: Answer) -> None:
        if self.silent.reason:
            self._turns.add(*self.silent.heard(entry.message.queue))
        self._answer(entry, answer)

    def _answer(self, entry: Entry, answer: Answer, words: str = "") -> None:
        message = entry.message
        if self._returned and self._returned.take(message):
            answer = Answer.RETURNED
            words = self._queues.returned(message.queue, time.monotonic())
        if answer is Answer.CONFIRMED and (message.declare is not None or self._queues.blamed):
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
        self._turns.refused([each.sent_s for each in sent], time.monotonic())
        # Where a whole connection ends nothing says over what: once is not enough to blame who was on its way alone.
        if is_one and sent and not is_of_queue and (sent[0].is_suspect or not reason.startswith(_OF_A_CONNECTION)):
            self._queues.blamed.add(sent[0].message.queue)
            self._answer(sent[0], Answer.REFUSED, reason)
        else:
            for each in sent:
                each.is_suspect = not is_known
            self._turns.put_first(sent, is_alone=not is_known)

    def _on_lost(self, reason: str) -> None:
        self._lost_reason, self._blocked_by = reason, None
        self._sizes = SizeLimits()  # the next broker may take more
        self._turns.put_back(self._take_sent())

    def _take_sent(self) -> list[Entry]:
        """What has no answer, and gets none on this channel any more."""
        self._channel = None
        self._returned.clear()
        sent = [entry for entry in self._sent.values() if entry.on_answer is not _ignore]
        self._sent.clear()
        return sent


def _ignore(_answer: Answer, _words: str) -> None:
    return None
