"""The queues of a topic: their names, their arguments, and making sure that they exist.

Arguments never change: RabbitMQ refuses to redeclare a queue with others, so a new value would break every deployment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import ChannelClosedByBroker

from hermes_ray.errors import OperationFailed, UserMistake

__all__ = ["NOT_FOUND", "Arguments", "TopicTopology", "dead_queue", "ensure", "queue_arguments", "queue_exists"]
__all__ += ["refusal", "survey", "wait_arguments", "wait_queue"]

DELIVERY_LIMIT_COUNT = 1_000_000  # the broker's own default of 20 drops messages that only saw connections close

NOT_FOUND = 404
LOCKED = 405
REFUSED = 403
DIFFERS = 406

Arguments = dict[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicTopology:
    """The queues of one topic; with ``declare`` false nothing is created and everything must exist.

    ``rungs_ms``: the delays its retries can have, a wait queue each; with ``declare`` each comes with its first retry.
    """

    topic: str
    queue: str
    queue_type: str = "quorum"
    declare: bool = True
    rungs_ms: tuple[int, ...] = ()


def wait_queue(queue: str, delay_ms: int) -> str:
    """Where messages of ``queue`` wait ``delay_ms`` for their next attempt: ``Q.wait.1414``."""
    return f"{queue}.wait.{delay_ms}"


def dead_queue(queue: str) -> str:
    """Where messages of ``queue`` that cannot be handled are kept: ``Q.dead``."""
    return f"{queue}.dead"


def queue_arguments(queue_type: str) -> Arguments:
    """The arguments of a main or dead-letter queue; ``queue_type`` is ``quorum`` or ``classic``."""
    arguments: Arguments = {"x-queue-type": queue_type}
    if queue_type == "quorum":
        arguments["x-delivery-limit"] = DELIVERY_LIMIT_COUNT
    return arguments


def wait_arguments(queue: str, queue_type: str, delay_ms: int) -> Arguments:
    """The arguments of ``wait_queue(queue, delay_ms)``: each message goes back to ``queue`` after ``delay_ms``.

    A quorum queue keeps a message until ``queue`` has confirmed it (at-least-once), which needs reject-publish.
    """
    arguments = queue_arguments(queue_type) | {
        "x-message-ttl": delay_ms,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
    }
    if queue_type == "quorum":
        arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    return arguments


def ensure(connection: BlockingConnection, topologies: Iterable[TopicTopology]) -> None:
    """Create what is missing of the main and dead-letter queues; idempotent. Wait queues come with their first retry.

    What has to be there is looked at before anything is created. What is to be created is not: each look for a queue
    that is not there is a line in the broker's log.
    Raises ``UserMistake`` with one sentence for a queue that exists with other arguments, and for everything that is
    missing of topics that declare nothing; ``OperationFailed`` when the broker refuses or cannot create a queue.
    """
    topologies = list(topologies)
    missing = [
        name
        for topology in topologies
        if not topology.declare
        for name in _all_names(topology)
        if _ready_count(connection, topology, name) is None
    ]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        noun = "the queue" if len(missing) == 1 else "the queues"
        raise UserMistake(
            f"{noun} {names} must exist with topology=passive: create them with the arguments that docs/handlers.md "
            "lists, or set topology=declare"
        )
    for topology in topologies:
        if topology.declare:
            for name in (topology.queue, dead_queue(topology.queue)):
                _declare(connection, topology, name, queue_arguments(topology.queue_type))


def survey(connection: BlockingConnection, topology: TopicTopology) -> dict[str, int | None]:
    """Messages ready in the main and the dead-letter queue, by name; None for one that ``ensure`` would create.

    Creates nothing. Raises what ``ensure`` would: a queue that is there is declared again, because only that tells its
    arguments, and changes nothing.
    """
    if not topology.declare:
        ensure(connection, [topology])
    found = {}
    for name in (topology.queue, dead_queue(topology.queue)):
        found[name] = _ready_count(connection, topology, name)
        if topology.declare and found[name] is not None:
            _declare(connection, topology, name, queue_arguments(topology.queue_type))
    return found


def _all_names(topology: TopicTopology) -> tuple[str, ...]:
    waits = (wait_queue(topology.queue, delay_ms) for delay_ms in topology.rungs_ms)
    return (topology.queue, dead_queue(topology.queue), *waits)


def _declare(connection: BlockingConnection, topology: TopicTopology, name: str, arguments: Arguments) -> None:
    channel = connection.channel()
    try:
        channel.queue_declare(name, durable=True, arguments=arguments)
    except ChannelClosedByBroker as error:
        raise refusal(topology, name, error.reply_code, error.reply_text) from None
    channel.close()


def queue_exists(connection: BlockingConnection, name: str) -> bool:
    """Whether the broker has a queue of this name; one that it does not tell about, or does not let us use, counts."""
    channel = connection.channel()
    try:
        channel.queue_declare(name, passive=True)
    except ChannelClosedByBroker as error:
        return bool(error.reply_code != NOT_FOUND)
    channel.close()
    return True


def _ready_count(connection: BlockingConnection, topology: TopicTopology, name: str) -> int | None:
    """Messages ready in the queue; None if there is none of that name."""
    channel = connection.channel()
    try:
        count: int = channel.queue_declare(name, passive=True).method.message_count
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND:
            return None
        raise refusal(topology, name, error.reply_code, error.reply_text) from None
    channel.close()
    return count


def refusal(topology: TopicTopology, name: str, code: int, text: str) -> OperationFailed | UserMistake:
    """The error that says in one sentence why the broker did not declare the queue ``name``, and what to do."""
    at = f"the queue {name!r} of topic {topology.topic!r}"
    if code == DIFFERS:
        return UserMistake(_difference(topology, name, text))
    if code == LOCKED:
        return UserMistake(f"{at} is exclusive to another connection: delete it or set another queue for the topic")
    if code == REFUSED:
        return UserMistake(f"the broker refuses {at}: grant this user the permissions to configure, write and read it")
    return OperationFailed(f"the broker could not give us {at}: {code} {text}")


_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<arg>[^']+)'.*?: received (?P<wanted>.*?) but current is (?P<found>.*)"
)
_TYPED = re.compile(r"^(?:the value )?'?(?P<value>.*?)'?(?: of type '[^']*')?$")


def _difference(topology: TopicTopology, name: str, text: str) -> str:
    """What a 406 means.

    Its text: ``PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but
    current is 'classic'``; where one side has none the other is ``the value 'quorum' of type 'longstr'``.
    """
    match = _INEQUIVALENT.search(text)
    at = f"the queue {name!r} of topic {topology.topic!r}"
    passive = f"topics.{topology.topic}.topology=passive"
    if match is None:
        return f"{at} exists in another form ({text}): move its messages and delete it, or set {passive}"
    argument, wanted, found = match["arg"], _value(match["wanted"]), _value(match["found"])
    if argument == "x-queue-type":
        found = "classic" if found == "none" else found
        what = f"{at} exists as a {found} queue, not {wanted}"
        by_type = f"set topics.{topology.topic}.queue_type={found}, " if found in ("classic", "quorum") else ""
        return f"{what}: {by_type}set {passive}, or move its messages and delete it"
    return f"{at} exists with {argument} {found}, not {wanted}: set {passive}, or move its messages and delete it"


def _value(text: str) -> str:
    match = _TYPED.match(text.strip())
    return match["value"] if match else text
