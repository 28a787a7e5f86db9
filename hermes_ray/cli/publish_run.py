"""A load on its way: sent at its pace, and what the broker says to each message."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from hermes_ray.broker.link import IoThread
from hermes_ray.broker.outgoing import Outgoing
from hermes_ray.broker.publisher import Answer, Publisher
from hermes_ray.cli.load import Load
from hermes_ray.errors import OperationFailed

__all__ = ["ANSWER_WAIT_S", "Run"]

STEP_S = 0.01
MAX_UNANSWERED = 2_000
ANSWER_WAIT_S = 30.0


class Run:
    """One publisher in a thread of its own, fed at a pace; ``ids`` gets each confirmed message's id.

    ``failure``: why nothing more is sent, such as the ``OperationFailed`` that ``ids`` raised.
    ``refusal``: the words of the first refusal, "" without one.
    ``lost_reason``: why answers were missing at the last silence, or the end; None where there is nothing to say.
    """

    def __init__(self, urls: Sequence[str], *, name: str, ids: Callable[[str], object] = lambda _id: None) -> None:
        self._io = IoThread(name, self._on_crash)
        self._publisher = Publisher(self._io.loop, urls, name=name)
        self._ids = ids
        self._counts = dict.fromkeys(Answer, 0)
        self._sent = 0
        self._crashed = False
        self.failure: OperationFailed | None = None
        self.refusal = ""
        self.lost_reason: str | None = None
        self._heard_s = self._started_s = time.monotonic()
        self._ended_s: float | None = None
        self._io.start()

    @property
    def answers(self) -> dict[str, float]:
        """What the broker said so far: confirmed, returned, nacked, refused, and the seconds it took."""
        seconds = (self._ended_s or time.monotonic()) - self._started_s
        return {str(answer): count for answer, count in self._counts.items()} | {"seconds": round(seconds, 3)}

    @property
    def unanswered_count(self) -> int:
        """Messages to which no answer has come."""
        return self._sent - sum(self._counts.values())

    def play(
        self,
        load: Load,
        make: Callable[[int], Outgoing],
        stop: threading.Event | None = None,
        on_silence: Callable[[], object] = lambda: None,
    ) -> None:
        """Send message n (from 0) of ``load`` when it is due, later where the broker is slow to confirm.

        ``on_silence`` is called where no more is sent since for 30 s no answer came, once each time. Raises
        ``failure``, once there is one.
        """
        started_s = sent_s = time.monotonic()
        sent, is_told = 0, False
        while sent < load.count and not (stop and stop.is_set()):
            due = load.due_count(time.monotonic() - started_s)
            batch = [make(n) for n in range(sent, min(due, sent + self._window()))]
            sent += len(batch)
            self.send(batch)
            if batch:
                sent_s, is_told = time.monotonic(), False
            elif not is_told and not self._window() and time.monotonic() - max(sent_s, self._heard_s) > ANSWER_WAIT_S:
                is_told, self.lost_reason = True, self._publisher.lost_reason
                on_silence()
            time.sleep(STEP_S)

    def send(self, batch: Sequence[Outgoing]) -> None:
        """Send these now; raises ``failure``, once there is one."""
        if self.failure is not None:
            raise self.failure
        self._sent += len(batch)
        self._io.call(lambda: self._publish(batch))

    def finish(self, timeout_s: float) -> bool:
        """Wait until the broker answered to everything, then close; False if for ``timeout_s`` no answer came."""
        self._heard_s = time.monotonic()
        while self.unanswered_count and not self._crashed and time.monotonic() - self._heard_s < timeout_s:
            time.sleep(STEP_S)
        complete = not self.unanswered_count
        self.lost_reason = self._publisher.lost_reason
        self._ended_s = time.monotonic()
        closed = threading.Event()
        self._io.call(lambda: self._publisher.close(closed.set))
        closed.wait(5.0)
        self._io.stop()
        return complete

    def _publish(self, batch: Sequence[Outgoing]) -> None:
        for message in batch:
            self._publisher.publish(message, partial(self._take, message.properties.get("message_id")))

    def _take(self, message_id: str, answer: Answer, words: str) -> None:
        self._heard_s = time.monotonic()
        if answer is Answer.REFUSED:
            self.refusal = self.refusal or words
        if answer is Answer.CONFIRMED and self.failure is None:
            try:
                self._ids(message_id)
            except OperationFailed as error:
                self.failure = error
        self._counts[answer] += 1

    def _window(self) -> int:
        return max(0, MAX_UNANSWERED - self.unanswered_count)

    def _on_crash(self) -> None:
        self._crashed = True
        self.failure = OperationFailed("the publisher's thread failed; its log says why")
