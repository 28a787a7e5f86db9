"""Where a queue has what it rejects go, by its arguments; where that is nowhere, the broker drops it without a word."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress

from pika.channel import Channel
from pika.exceptions import NoFreeChannels

from hermes_ray.broker.beside import Beside

__all__ = ["Home", "HomeSearch", "home_of"]

LEAST_PAUSE_S, MOST_PAUSE_S = 1.0, 60.0  # between looks; one that finds nothing is a line in the broker's log


Home = tuple[str, str | None]  # an exchange, and the routing key that replaces a message's own, if any


def home_of(queue: str, arguments: Mapping[str, str | int]) -> Home | None:
    """Where ``queue`` dead-letters to; None where what it rejects is lost.

    By the default exchange it comes straight back without another key, or is lost by an empty one: that is no home.
    """
    exchange, key = arguments.get("x-dead-letter-exchange"), arguments.get("x-dead-letter-routing-key")
    if exchange is None or (exchange == "" and key in (None, "", queue)):
        return None
    return str(exchange), None if key is None else str(key)


class HomeSearch:
    """Finds out whether the exchange of ``home`` is there, or the queue of the default one: one question at a time."""

    def __init__(self, home: Home, beside: Beside) -> None:
        self._exchange, self._key = home
        self._beside = beside
        self._asked_on: Channel | None = None
        self._next_s, self._pause_s = -math.inf, LEAST_PAUSE_S

    def look(self, consuming: Channel, now_s: float, on_found: Callable[[], None]) -> None:
        """Ask, beside the ``consuming`` channel, unless it is too soon; ``on_found`` is called if it is there."""
        if self._asked_on is not None or now_s < self._next_s:
            return
        self._next_s, self._pause_s = now_s + self._pause_s, min(MOST_PAUSE_S, 2 * self._pause_s)

        def found(_frame: object) -> None:
            self._pause_s = LEAST_PAUSE_S
            channel.close()
            on_found()

        def ask(channel: Channel) -> None:
            if self._exchange:
                channel.exchange_declare(self._exchange, passive=True, callback=found)
            else:
                channel.queue_declare(self._key, passive=True, callback=found)

        with suppress(NoFreeChannels):
            self._asked_on = channel = self._beside.open(consuming, ask)
            channel.add_on_close_callback(self._on_closed)

    def _on_closed(self, _channel: Channel, _error: Exception) -> None:
        self._asked_on = None
