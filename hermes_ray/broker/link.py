"""One connection with one channel, kept open for ever; and the I/O thread it lives in.

pika 1.4.4 has no thread-safe connection: everything here but ``IoThread.call`` runs in the I/O thread alone.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from weakref import WeakSet

from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.channel import Channel
from pika.exceptions import AMQPError, ChannelClosedByBroker, NoFreeChannels

from hermes_ray.broker.connecting import Connecting
from hermes_ray.broker.connection import backoff_s, parameters
from hermes_ray.broker.reason import failure_of, reason_of, sentence
from hermes_ray.broker.wire import DIRECT, Wire
from hermes_ray.errors import UserMistake
from hermes_ray.logs import Log

__all__ = ["IoThread", "Link", "outlast"]

log = Log(__name__)

SET_UP_S = 60.0
CLOSING_ROUNDS, CLOSING_PAUSE_S = 5, 0.05
_OVER_A_FRAME = (501, 502, 503, 504, 505, 506, 541)  # why a broker ends a connection that has sent what it cannot take


class IoThread:
    """A thread that runs a pika I/O loop until ``stop``; ``on_crash`` is called in it if a callback raises."""

    def __init__(self, name: str, on_crash: Callable[[], None]) -> None:
        self.loop = IOLoop()
        self._on_crash = on_crash
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Run ``function`` in the I/O thread soon; safe from any thread."""
        self.loop.add_callback_threadsafe(function)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the loop and wait for the thread; whatever is connected then is cut."""
        self.call(self.loop.stop)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self.loop.start()
        except Exception:
            try:
                log.exception("%s: the I/O thread failed", self._thread.name)
            finally:
                self._on_crash()
        else:
            self.loop.close()


class Link:
    """A connection named ``name`` to the first of ``urls`` that answers, with one channel; reopened until closed.

    ``on_open(channel)`` is called for each new channel, ``on_lost(reason)`` once for each that ends or cannot be had.
    With ``on_refused(reason)``, a channel that the broker closes over what was sent on it is told to that, and another
    opened at once.
    The pause before the next try grows until ``working()`` says that this one does what it is for: a connection alone
    is no success.
    """

    def __init__(
        self,
        loop: IOLoop,
        urls: Sequence[str],
        *,
        name: str,
        on_open: Callable[[Channel], None],
        on_lost: Callable[[str], None],
        on_refused: Callable[[str], None] | None = None,
        heartbeat_s: int = 60,
        wire: Wire = DIRECT,
    ) -> None:
        self._loop = loop
        self._urls = tuple(urls)
        self._name = name
        self._on_open = on_open
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._wire = wire
        self._heartbeat_s = heartbeat_s
        self._connection: SelectConnection | None = None
        self._connecting: Connecting  # from the first attempt on
        self._attempts = 0
        self._wanted = False
        self._on_closed: Callable[[], None] | None = None
        self._channel: Channel | None = None
        self._is_ready = False
        self._reason = ""
        self.reconnect_count = 0

    def open(self) -> None:
        """Start connecting, unless under way."""
        if not self._wanted:
            self._wanted = True
            self._connect()

    def ready(self) -> None:
        """The channel is set up. A broker that does not answer the set-up within a minute is given up."""
        self._is_ready = True

    def working(self) -> None:
        """The channel does its work: the next loss is retried at once."""
        self._is_ready = True
        self._attempts = 0

    def reset(self, reason: str) -> None:
        """Give up this connection and open a new one after a pause."""
        self._reason = self._reason or reason
        connection = self._connection
        if connection is not None and connection.is_open:
            connection.close()

    def abandon(self, reason: str) -> None:
        """Cut this connection without a word, and open a new one after a pause.

        For one whose channel answers nothing: its close would wait for that too, and the broker then still work through
        all that was sent.
        """
        self._reason = self._reason or reason
        connection = self._connection
        if connection is not None and connection.is_open:
            connection._terminate_stream(AMQPError(reason))

    def close(self, on_closed: Callable[[], None], *, is_read: bool = True) -> None:
        """Close for good; ``on_closed`` is called when the broker agreed, nothing was open, or it reads nothing now."""
        self._wanted = False
        connection = self._connection
        if connection is None or connection.is_closed:
            on_closed()
            return
        self._on_closed = on_closed
        if not is_read:
            self.abandon("closed while the broker read nothing")
        elif connection.is_open:
            connection.close()

    def _connect(self) -> None:
        if not self._wanted:
            return
        url = self._urls[self._attempts % len(self._urls)]
        self._reason = ""
        try:
            # What a blocked connection was given the broker reads once it can: sent on another too, it would be twice.
            chosen = parameters(url, name=self._name, heartbeat_s=self._heartbeat_s, blocked_timeout_s=None)
        except UserMistake as mistake:  # a file of TLS, which may be there at the next try
            self._lost(str(mistake))
            return
        self._connecting = Connecting(
            self._loop, lambda error: self._lost(f"this process cannot open a connection: {reason_of(error)}")
        )
        self._connection = connection = self._wire.connection_class(
            chosen,
            on_open_callback=self._on_connection_open,
            on_open_error_callback=lambda _, error: self._lost(self._reason or sentence([failure_of(url, error)])),
            on_close_callback=self._on_connection_lost,
            custom_ioloop=self._connecting,
        )
        _OPENED.add(connection)

    def _on_connection_open(self, connection: SelectConnection) -> None:
        self._connecting.is_over = True
        if not self._wanted:
            connection.close()
            return
        connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        self._is_ready = False
        self._channel = channel
        self._loop.call_later(SET_UP_S, lambda: self._give_up_unless_ready(channel))
        self._on_open(channel)

    def _give_up_unless_ready(self, channel: Channel) -> None:
        if channel is self._channel and not self._is_ready:
            self.reset(f"the broker did not answer within {SET_UP_S:.0f} s")

    def _on_channel_closed(self, channel: Channel, error: Exception) -> None:
        if self._on_refused is not None and isinstance(error, ChannelClosedByBroker):
            self._on_refused(_text(error))
            try:
                if channel.connection.is_open:
                    channel.connection.channel(on_open_callback=self._on_channel_open)
            except NoFreeChannels:  # where a broker allows one channel, and the old one still counts
                self.reset(_text(error))
        else:
            self.reset(_text(error))

    def _on_connection_lost(self, _connection: SelectConnection, error: Exception | str) -> None:
        reason = self._reason or _text(error)
        if self._on_refused is not None and getattr(error, "reply_code", None) in _OVER_A_FRAME:
            self._on_refused(reason)
            self._attempts = 0  # what it was over is told: the next connection is for the others
        self._lost(reason)

    def _lost(self, reason: str) -> None:
        self._connection = None
        self._on_lost(reason)
        if self._on_closed is not None:
            self._on_closed()
        if self._wanted:
            pause_s = backoff_s(self._attempts, random.random)
            log.warning("%s: %s; connecting again in %.1f s", self._name, reason, pause_s)
            self._attempts += 1
            self.reconnect_count += 1
            self._loop.call_later(pause_s, self._connect)


_OPENED: WeakSet[SelectConnection] = WeakSet()


def _close_in_child() -> None:
    """A child that a handler forks has copies of the sockets: the broker would wait for what its parent held, dead."""
    for connection in _OPENED:
        with suppress(OSError, AttributeError):  # it has no socket, or pika has changed inside
            os.close(connection._transport._sock.detach())


os.register_at_fork(after_in_child=_close_in_child)


def outlast(loop: IOLoop, channel: Channel | None, then: Callable[[], None], rounds: int = CLOSING_ROUNDS) -> None:
    """Call ``then`` after ``rounds`` round trips with a pause each, or when the channel is gone.

    On a quorum queue the broker's side of the channel sends settlements on at once only while fewer than 32 wait to be
    written; the rest, acks after a drain's burst of nacks among them, it keeps and would lose with the channel.
    """
    if rounds == 0 or channel is None or not channel.is_open:
        then()
        return

    def pause(_frame: object) -> None:
        loop.call_later(CLOSING_PAUSE_S, lambda: outlast(loop, channel, then, rounds - 1))

    channel.basic_qos(prefetch_count=1, callback=pause)


def _text(error: Exception | str) -> str:
    code, words = getattr(error, "reply_code", None), getattr(error, "reply_text", None)
    if words:
        return f"{code} {words}"
    return reason_of(error) if isinstance(error, Exception) else error
