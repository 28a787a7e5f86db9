"""What a queue that is not ours to declare is like, as far as the broker tells.

Without a management API only the refusal of a declare tells a queue's arguments, one at a time. So it is declared with
what it cannot be, and with what it was said to be, until all that matters was said: two or three refusals, a line in
the broker's log each. Where the queue has vanished meanwhile none is created, since no queue can be of such a form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import ChannelClosedByBroker

from hermes_ray.broker.topology import (
    DIFFERS,
    Arguments,
    TopicTopology,
    cannot_work,
    inequivalence,
    main_arguments,
    survey,
)
from hermes_ray.config.queue_arguments import SINGLE_ACTIVE
from hermes_ray.errors import UserMistake

__all__ = ["QueueLook", "has_single_active_consumer", "look_at"]

_TYPE = "x-queue-type"
_IMPOSSIBLE = "hermes_ray asks"
_MOST_ROUNDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLook:
    """The queues of a topic as they are: messages ready by name, None for one that is yet to be declared."""

    ready_counts: dict[str, int | None]
    single_active: bool


def look_at(connection: BlockingConnection, topology: TopicTopology) -> QueueLook:
    """What there is of a topic's queues, created nothing; raises what declaring and consuming them would."""
    counts = survey(connection, topology)
    if main_arguments(topology) is None:
        return QueueLook(ready_counts=counts, single_active=has_single_active_consumer(connection, topology))
    return QueueLook(ready_counts=counts, single_active=topology.arguments.get(SINGLE_ACTIVE) is True)


def has_single_active_consumer(connection: BlockingConnection, topology: TopicTopology) -> bool:
    """Whether the broker says so of the topic's main queue; False where it says nothing, such as without permissions.

    Creates nothing. Raises ``UserMistake`` for a queue that cannot be consumed as topics are, whatever declares it.
    """
    known: Arguments = {}
    asked: Arguments = {_TYPE: _IMPOSSIBLE, SINGLE_ACTIVE: _IMPOSSIBLE}
    for _ in range(_MOST_ROUNDS):
        answer = _refused(connection, topology.queue, known | asked)
        if answer is None:
            break
        name, found = answer
        if why := cannot_work(name, found):
            raise UserMistake(f"the queue {topology.queue!r} of topic {topology.topic!r} {why}")
        asked.pop(name, None)
        value = _typed(found)
        if value is not None:
            known[name] = value
        if not asked:
            break
    return known.get(SINGLE_ACTIVE) is True


def _refused(connection: BlockingConnection, queue: str, arguments: Arguments) -> tuple[str, str] | None:
    """The argument that differs and what it is on the queue that is there; None if the broker does not say so."""
    channel = connection.channel()
    try:
        channel.queue_declare(queue, durable=True, arguments=arguments)
    except ChannelClosedByBroker as error:
        differs = inequivalence(error.reply_text) if error.reply_code == DIFFERS else None
        return None if differs is None else (differs.argument, differs.found_as_told)
    channel.close()
    return None


_VALUE = re.compile(r"(?:the value )?'(?P<value>.*)'(?: of type '(?P<type>[^']*)')?", re.DOTALL)


def _typed(told: str) -> str | int | None:
    """What the broker told of an argument, as it is declared: ``the value '5' of type 'signedint'`` is 5."""
    match = _VALUE.fullmatch(told)
    if match is None:
        return None
    text = match["value"]
    if text in ("true", "false") and match["type"] in ("bool", None):
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d+", text) and match["type"] != "longstr" else text
