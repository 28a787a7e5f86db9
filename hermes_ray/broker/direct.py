"""A connection of pika's whose deliveries, returns and confirms are cut from the wire without pika's objects.

Everything else stays pika's: every other frame goes through its decoder and its callbacks, in order. That needs what
pika calls private: all of it that has to do with frames is in this file, and ``can_cut`` looks whether the pika that is
installed has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pika import frame
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel
from pika.exceptions import AMQPConnectionError

from hermes_ray.broker.frames import Cutter, MalformedFrame, Receiver, ack_frames, publish_frames
from hermes_ray.broker.reason import NO_AMQP

__all__ = ["DirectConnection", "can_cut", "send_acks", "send_publish"]

_READ_BYTES = 1 << 17  # at most from the socket at once; pika's 4 kB are eleven small messages
_WRITE_BYTES = 1 << 17  # at most in one piece, of which pika copies the rest each time that a part has been sent


class DirectConnection(SelectConnection):  # type: ignore[misc]
    """``listen`` names who is told of deliveries, returns and confirms at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._cutter = Cutter(self._take_frame)
        self._outbox: list[bytes] = []
        super().__init__(*args, **kwargs)

    def listen(self, receiver: Receiver) -> None:
        """Tell ``receiver`` from now on."""
        self._cutter.most_bytes = self.params.frame_max or 1 << 31
        self._cutter.listen(receiver)
        self._transport._MAX_RECV_BYTES = _READ_BYTES

    def write_soon(self, channel: Channel, frames: bytes) -> None:
        """Write ``frames`` on ``channel``, with all others of this turn of the I/O loop: a call of the system for each
        would take as long as all else. Dropped where the channel is closed by then: it would be taken amiss.
        """
        if not self._outbox:
            self._adapter_call_later(0, lambda: self._write(channel))
        self._outbox.append(frames)

    def _write(self, channel: Channel) -> None:
        frames, self._outbox = b"".join(self._outbox), []
        if channel.is_open:
            self._output_marshaled_frames(
                [frames[at : at + _WRITE_BYTES] for at in range(0, len(frames), _WRITE_BYTES)]
            )

    def _on_data_available(self, data_in: bytes) -> None:
        self.bytes_received += len(data_in)
        try:
            self._cutter.feed(data_in)
        except MalformedFrame as error:
            self._terminate_stream(AMQPConnectionError(f"{NO_AMQP}: {error}"))

    def _take_frame(self, whole: bytes) -> None:
        try:
            _, value = frame.decode_frame(whole)
        except Exception as error:  # whatever pika's decoder makes of bytes it does not know
            raise MalformedFrame(f"a frame that cannot be read: {error!r}") from error
        if value is not None:
            self._process_frame(value)


def can_cut() -> bool:
    """Whether this pika has the insides that are replaced here, each where it was when this was written."""
    needs = {
        SelectConnection: ("_on_data_available", "_process_frame", "_terminate_stream", "_output_marshaled_frames"),
        frame: ("decode_frame",),
    }
    return all(hasattr(owner, name) for owner, names in needs.items() for name in names)


def send_acks(channel: Channel, acks: Iterable[tuple[int, bool]]) -> None:
    """Put these acks, as (tag, multiple), on the wire in one write; the channel is open."""
    if frames := ack_frames(channel.channel_number, acks):
        channel.connection._output_marshaled_frames([frames])


def send_publish(channel: Channel, exchange: str, key: str, raw: bytes, body: bytes) -> None:
    """Publish to ``exchange`` with ``key``, mandatory; the channel is open, and ``raw`` fits into a frame."""
    connection = channel.connection
    frames = publish_frames(channel.channel_number, key, raw, body, connection._body_max_length, exchange=exchange)
    connection.write_soon(channel, frames)
