"""Messages wait, this worker consumes, and it gets none: the broker has forgotten its consumer."""

from __future__ import annotations

from collections.abc import Callable

from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Queue

__all__ = ["DeliveryWatch"]

LOOK_EVERY_S = 10.0
FIRST_PATIENCE, MOST_PATIENCE = 2, 360  # looks in a row that find messages and no delivery


class DeliveryWatch:
    """Calls ``on_forgotten`` where ``queue`` holds messages and a consumer with idle slots is handed none.

    A quorum queue that was deleted and made anew forgets its consumers without a word. Where to begin anew does not
    help, as for the second consumer of a queue that serves one, it is tried ever less often. ``idle_channel``: where
    there is a consumer with idle slots, its channel; ``received``: how many deliveries it has had. All of it lives in
    the I/O thread.
    """

    def __init__(
        self,
        loop: IOLoop,
        queue: str,
        *,
        idle_channel: Callable[[], Channel | None],
        received: Callable[[], int],
        on_forgotten: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._queue = queue
        self._idle_channel = idle_channel
        self._received = received
        self._on_forgotten = on_forgotten
        self._seen = 0
        self._looks = 0
        self._patience = FIRST_PATIENCE

    def look(self) -> None:
        """Look now, and again every ten seconds."""
        received, self._seen = self._received() - self._seen, self._received()
        channel = self._idle_channel()
        if received:
            self._looks, self._patience = 0, FIRST_PATIENCE
        elif channel is None:
            self._looks = 0
        elif channel.is_open:
            channel.queue_declare(self._queue, passive=True, callback=self._on_depth)
        self._loop.call_later(LOOK_EVERY_S, self.look)

    def _on_depth(self, frame: Method[Queue.DeclareOk]) -> None:
        self._looks = self._looks + 1 if frame.method.message_count else 0
        if self._looks >= self._patience:
            self._looks, self._patience = 0, min(2 * self._patience, MOST_PATIENCE)
            self._on_forgotten()
