"""What lies in a dead-letter queue."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from pika.exceptions import ChannelClosedByBroker

from hermes_ray.broker.connection import connect
from hermes_ray.broker.topology import NOT_FOUND, dead_queue

__all__ = ["dead_letter_ids"]


def dead_letter_ids(urls: Sequence[str], queue: str) -> list[str]:
    """The message ids in ``queue``'s dead-letter queue, oldest first; all of them stay there. None of a missing queue.

    Each message is held until the last one is seen, then all are given back. Messages without an id are passed over.
    Raises ``OperationFailed`` when no broker answers.
    """
    ids = []
    with contextlib.closing(connect(urls, name=f"dead letters of {queue}")) as connection:
        channel = connection.channel()
        try:
            while (found := channel.basic_get(dead_queue(queue)))[0] is not None:
                ids.append(found[1].message_id)
        except ChannelClosedByBroker as error:
            if error.reply_code != NOT_FOUND:
                raise
            return []
        if ids:
            channel.basic_nack(0, multiple=True, requeue=True)
            # A nack has no reply. The close has one, which the broker sends after the nack: all messages are back then.
            channel.close()
    return [id for id in ids if id]
