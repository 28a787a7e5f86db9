"""Messages wait, this worker consumes, and it gets none: the broker has forgotten its consumer."""

from __future__ import annotations

from collections.abc import Callable

from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker, NoFreeChannels
from pika.frame import Method
from pika.spec import Queue

from hermes_ray.broker.beside import Beside
from hermes_ray.broker.topology import NOT_FOUND

__all__ = ["DeliveryWatch"]

LOOK_EVERY_S = 10.0
FIRST_PATIENCE, MOST_PATIENCE = 2, 360  # looks in a row that find messages and no delivery


class DeliveryWatch:
    """Calls ``on_forgotten`` where ``queue`` holds messages and a consumer with idle slots is handed none.

    A quorum queue that was deleted and made anew forgets its consumers without a word, and so it does where it is not
    made anew. Where to begin anew does not help, as for the second consumer of a queue that serves one, it is tried
    ever less often. ``idle_channel``: where there is a consumer with idle slots, its channel; ``received``: how many
    deliveries it has had. All of it lives in the I/O thread.

    It asks on a channel beside that one, kept open for the next look, since a refusal closes the channel and would cut
    short what is in handlers; only where the broker allows no other it has to ask there.
    """

    def __init__(
        self,
        loop: IOLoop,
        queue: str,
        *,
        idle_channel: Callable[[], Channel | None],
        received: Callable[[], int],
        on_forgotten: Callable[[], None],
        beside: Beside,
    ) -> None:
        self._loop = loop
        self._queue = queue
        self._idle_channel = idle_channel
        self._received = received
        self._on_forgotten = on_forgotten
        self._seen = 0
        self._looks = 0
        self._patience = FIRST_PATIENCE
        self._beside = beside
        self._asked_on: Channel | None = None
        self._is_asking = False
        self._asked_about: Channel | None = None

    def look(self) -> None:
        """Look now, and again every ten seconds."""
        received, self._seen = self._received() - self._seen, self._received()
        channel = self._idle_channel()
        if received:
            self._looks, self._patience = 0, FIRST_PATIENCE
        elif channel is None:
            self._looks = 0
        elif channel.is_open and not (self._is_asking and channel is self._asked_about):
            self._asked_about = channel
            self._ask(channel)
        self._loop.call_later(LOOK_EVERY_S, self.look)

    def _ask(self, consuming: Channel) -> None:
        if self._asked_on is not None:
            self._declare(self._asked_on)
            return
        try:
            self._asked_on = self._beside.open(consuming, self._declare)
            self._asked_on.add_on_close_callback(self._on_closed)
            self._is_asking = True
        except NoFreeChannels:
            self._is_asking = True
            consuming.queue_declare(self._queue, passive=True, callback=self._on_depth)

    def _declare(self, beside: Channel) -> None:
        self._is_asking = True
        beside.queue_declare(self._queue, passive=True, callback=self._on_depth)

    def _on_closed(self, _channel: Channel, error: Exception) -> None:
        self._asked_on, self._is_asking = None, False
        if isinstance(error, ChannelClosedByBroker):
            self._found(is_amiss=error.reply_code == NOT_FOUND)

    def _on_depth(self, frame: Method[Queue.DeclareOk]) -> None:
        self._is_asking = False
        self._found(is_amiss=frame.method.message_count > 0)

    def _found(self, *, is_amiss: bool) -> None:
        self._looks = self._looks + 1 if is_amiss else 0
        if self._looks >= self._patience:
            self._looks, self._patience = 0, min(2 * self._patience, MOST_PATIENCE)
            self._on_forgotten()
