"""Whether what a queue rejects has somewhere to go: the broker drops it without a word where it has not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pika.channel import Channel
from pika.exceptions import NoFreeChannels

__all__ = ["look_for_home"]


def look_for_home(
    channel: Channel, queue: str, arguments: Mapping[str, str | int], on_found: Callable[[], None]
) -> None:
    """Call ``on_found`` once the broker says that there is a dead-letter exchange of ``queue``, by its ``arguments``.

    Of the default exchange it is the queue that has to be there, another one: else what is rejected comes straight
    back. Looks on a channel of its own, which a broker that finds nothing closes.
    """
    exchange, key = arguments.get("x-dead-letter-exchange"), arguments.get("x-dead-letter-routing-key", queue)
    if exchange is None or (exchange == "" and key == queue):
        return

    def look(beside: Channel) -> None:
        def found(_frame: object) -> None:
            beside.close()
            on_found()

        if exchange:
            beside.exchange_declare(exchange, passive=True, callback=found)
        else:
            beside.queue_declare(key, passive=True, callback=found)

    try:
        channel.connection.channel(on_open_callback=look)
    except NoFreeChannels:
        return
