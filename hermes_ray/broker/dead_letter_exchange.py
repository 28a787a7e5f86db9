"""Where a queue has what it rejects go, by its arguments; where that is nowhere, the broker drops it without a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from pika.channel import Channel
from pika.exceptions import NoFreeChannels

from hermes_ray.broker.beside import Beside

__all__ = ["home_of", "look_for_home"]


def home_of(queue: str, arguments: Mapping[str, str | int]) -> tuple[str, str] | None:
    """The exchange and the routing key by which ``queue`` dead-letters; None where what it rejects is lost.

    It comes straight back where that is ``queue`` itself: that is no home either.
    """
    exchange, key = arguments.get("x-dead-letter-exchange"), arguments.get("x-dead-letter-routing-key")
    if exchange is None or (exchange == "" and key in (None, queue)):
        return None
    return str(exchange), "" if key is None else str(key)


def look_for_home(home: tuple[str, str], consuming: Channel, beside: Beside, on_found: Callable[[], None]) -> None:
    """Call ``on_found`` once the broker says that the exchange of ``home`` is there, or the queue of the default one.

    Looks on a channel beside the ``consuming`` one, and not at all where there may be none.
    """
    exchange, key = home

    def look(channel: Channel) -> None:
        def found(_frame: object) -> None:
            channel.close()
            on_found()

        if exchange:
            channel.exchange_declare(exchange, passive=True, callback=found)
        else:
            channel.queue_declare(key, passive=True, callback=found)

    with suppress(NoFreeChannels):
        beside.open(consuming, look)
