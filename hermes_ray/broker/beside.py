"""Channels beside the one that consumes, for questions: what the broker refuses closes the channel it was asked on."""

from __future__ import annotations

from collections.abc import Callable

from pika.channel import Channel
from pika.exceptions import NoFreeChannels

from hermes_ray.broker.refusals import is_about_channels

__all__ = ["Beside"]


class Beside:
    """Opens them, until the broker has once ended a connection over one more than this user may have."""

    def __init__(self) -> None:
        self._may_open = True

    def open(self, consuming: Channel, on_open: Callable[[Channel], None]) -> Channel:
        """One more on the connection of ``consuming``; raises ``NoFreeChannels`` where there may be none."""
        if not self._may_open:
            raise NoFreeChannels
        channel: Channel = consuming.connection.channel(on_open_callback=on_open)
        channel.add_on_close_callback(self._on_closed)
        return channel

    def _on_closed(self, _channel: Channel, error: Exception) -> None:
        if is_about_channels(str(error)):
            self._may_open = False
