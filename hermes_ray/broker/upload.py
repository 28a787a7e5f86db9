"""Whether what was written still goes out: a large body takes its time on a slow line, and is no silence."""

from __future__ import annotations

import struct
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ

from pika.channel import Channel

__all__ = ["Upload"]


class Upload:
    """Of one connection after the other."""

    def __init__(self) -> None:
        self._out_bytes: int | None = None  # what had gone out at the last look, where more was waiting to

    def look(self, channel: Channel) -> bool:
        """Whether of what waited at the last look, here or in the kernel, something has gone out since."""
        waiting_bytes = channel.connection._get_write_buffer_size() + _in_kernel_bytes(channel)
        out_bytes: int = channel.connection.bytes_sent - waiting_bytes
        before_bytes, self._out_bytes = self._out_bytes, out_bytes if waiting_bytes else None
        return before_bytes is not None and out_bytes > before_bytes


def _in_kernel_bytes(channel: Channel) -> int:
    """What the other side has not acknowledged, megabytes where the line is slow; 0 where the kernel does not say."""
    with suppress(OSError, AttributeError):  # a pika that has changed inside
        (waiting_bytes,) = struct.unpack("i", ioctl(channel.connection._transport._sock, TIOCOUTQ, bytes(4)))
        return int(waiting_bytes)
    return 0
