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

from hermes_ray.broker.inequivalence import Inequivalence, inequivalence, plain_value
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.reason import told
from hermes_ray.broker.topology import DIFFERS, REFUSED, Arguments, cannot_work, main_arguments, survey
from hermes_ray.config.queue_arguments import SINGLE_ACTIVE
from hermes_ray.config.sentences import dotted
from hermes_ray.errors import UserMistake

__all__ = ["QueueLook", "has_single_active_consumer", "look_at"]

_TYPE, _OVERFLOW = "x-queue-type", "x-overflow"
_IMPOSSIBLE = "?"  # short, because an answer repeats it and is cut at 255 bytes
_MOST_ROUNDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLook:
    """The queues of a topic as they are: messages ready by name, None for one that is yet to be declared."""

    ready_counts: dict[str, int | None]
    single_active: bool
    untold: str = ""
    """Why the broker does not tell what the main queue is like; "" where it does, or where we declare it."""


def look_at(connection: BlockingConnection, topology: TopicTopology) -> QueueLook:
    """What there is of a topic's queues, created nothing; raises what declaring and consuming them would."""
    counts = survey(connection, topology)
    if counts[topology.queue] is not None:
        _refuse_unreadable(connection, topology)
    if main_arguments(topology) is None:
        single_active, untold = _form(connection, topology)
        return QueueLook(ready_counts=counts, single_active=single_active, untold=untold)
    return QueueLook(ready_counts=counts, single_active=topology.arguments.get(SINGLE_ACTIVE) is True)


def _refuse_unreadable(connection: BlockingConnection, topology: TopicTopology) -> None:
    """Raise ``UserMistake`` where this user may not consume the main queue, which is there.

    It is consumed with an argument that no consumer can have: the broker looks at permissions before it refuses that.
    """
    channel = connection.channel()
    try:
        channel.basic_consume(topology.queue, lambda *_: None, arguments={"x-priority": _IMPOSSIBLE})
    except ChannelClosedByBroker as error:
        if error.reply_code == REFUSED and told(error.reply_text).startswith("ACCESS_REFUSED - access to queue "):
            at = f"the queue {topology.queue!r} of topic {topology.topic!r}"
            raise UserMistake(f"this user may not consume {at}: grant the permission to read it") from None
        return
    channel.close()


def has_single_active_consumer(connection: BlockingConnection, topology: TopicTopology) -> bool:
    """Whether the broker says so of the topic's main queue; False where it says nothing, such as without permissions.

    Creates nothing. Raises ``UserMistake`` for a queue that cannot be consumed as topics are, whatever declares it.
    """
    return _form(connection, topology)[0]


def _form(connection: BlockingConnection, topology: TopicTopology) -> tuple[bool, str]:
    """Whether the main queue has a single active consumer, and why what it is like is not told, "" if it is."""
    known: Arguments = {}
    untold = _learn(connection, topology, known)
    return known.get(SINGLE_ACTIVE) is True, untold


def _learn(connection: BlockingConnection, topology: TopicTopology, known: Arguments) -> str:
    """Put what the broker tells into ``known`` until all that matters was told; why it was not, else ""."""
    asked: Arguments = {_TYPE: _IMPOSSIBLE, SINGLE_ACTIVE: _IMPOSSIBLE}
    if topology.queue_type == "classic":
        asked[_OVERFLOW] = _IMPOSSIBLE
    for _ in range(_MOST_ROUNDS):
        answer = _refused(connection, topology.queue, known | asked)
        if isinstance(answer, str):
            return answer
        name, found = answer.argument, answer.found_as_told
        if found is None:
            return f"the broker's answer has no room for its {name}"
        if why := cannot_work(name, found) or _loses_retries(topology, name, found):
            raise UserMistake(f"the queue {topology.queue!r} of topic {topology.topic!r} {why}")
        if name in known:
            return f"its {name} is of a type that cannot be declared"
        asked.pop(name, None)
        value = _typed(found)
        if value is not None:
            known[name] = value
        if not asked:
            return ""
    return f"the broker names another argument each of {_MOST_ROUNDS} times"


def _loses_retries(topology: TopicTopology, argument: str, found: str) -> str | None:
    """Why no retry of the topic may wait in a classic queue, which does not wait for a full one to take it back."""
    value = plain_value(found)
    if topology.queue_type != "classic" or argument != _OVERFLOW or not value.startswith("reject-publish"):
        return None
    key = f"{dotted('topics', topology.topic)}.queue_type"
    lost = f"exists with {_OVERFLOW} {value}, and a retry that comes back to it from a classic queue may be lost"
    return f"{lost}: set {key}=quorum, so that retries wait in quorum queues"


def _refused(connection: BlockingConnection, queue: str, arguments: Arguments) -> Inequivalence | str:
    """What differs on the queue that is there; the broker's words where it says something else."""
    channel = connection.channel()
    try:
        channel.queue_declare(queue, durable=True, arguments=arguments)
    except ChannelClosedByBroker as error:
        text = told(error.reply_text)
        differs = inequivalence(text, queue=queue, sent=arguments) if error.reply_code == DIFFERS else None
        return differs or f"{error.reply_code} {text}"
    channel.close()
    return "the broker takes any argument for it"


# A value that we sent one for comes without its type.
_TYPED = re.compile(r"the value '(?P<value>.*)' of type '(?P<type>[^']*)'", re.DOTALL)
_UNTYPED = re.compile(r"'(?P<value>.*)'(?P<type>)", re.DOTALL)


def _typed(told: str) -> str | int | None:
    """What the broker told of an argument, as it is declared: ``the value '5' of type 'signedint'`` is 5."""
    match = _TYPED.fullmatch(told) or _UNTYPED.fullmatch(told)
    if match is None:
        return None
    text, kind = match["value"], match["type"]
    if text in ("true", "false") and kind in ("bool", ""):
        return text == "true"
    return int(text) if kind not in ("longstr", "") and re.fullmatch(r"-?\d+", text) else text
