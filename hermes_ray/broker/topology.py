"""The queues of a topic: their names, their arguments, and making sure that they exist.

Arguments never change: RabbitMQ refuses to redeclare a queue with others, so a new value would break every deployment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import ChannelClosedByBroker

from hermes_ray.broker.bindings import bind_all, look_at_exchanges
from hermes_ray.broker.inequivalence import Inequivalence, inequivalence, plain_value
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.reason import told
from hermes_ray.config.queue_arguments import KNOWN
from hermes_ray.config.sentences import dotted
from hermes_ray.errors import OperationFailed, UserMistake

__all__ = ["DIFFERS", "NOT_FOUND", "REFUSED", "Arguments", "cannot_work", "dead_queue"]
__all__ += ["ensure", "main_arguments", "queue_arguments", "queue_exists", "refusal", "survey"]
__all__ += ["wait_arguments", "wait_queue"]

DELIVERY_LIMIT_COUNT = 1_000_000  # the broker's own default of 20 drops messages that only saw connections close

NOT_FOUND = 404
LOCKED = 405
REFUSED = 403
DIFFERS = 406

Arguments = dict[str, str | int]


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


def main_arguments(topology: TopicTopology) -> Arguments | None:
    """The arguments that the main queue is declared with, whoever does; None if nobody here may."""
    if not topology.declare or topology.is_existing:
        return None
    return queue_arguments(topology.queue_type) | dict(topology.arguments)


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
    """Create what is missing of the main and dead-letter queues, and bind the main ones; idempotent.

    Wait queues come with their first retry. What has to be there is looked at before anything is created. What is to be
    created is not: each look for a queue that is not there is a line in the broker's log.
    Raises ``UserMistake`` with one sentence for a queue that exists with other arguments, and for everything that is
    missing and not to be created; ``OperationFailed`` when the broker refuses or cannot create a queue.
    """
    topologies = list(topologies)
    _refuse_missing(connection, topologies)
    must_exist = [b for topology in topologies for b in topology.bindings if b.exchange_type is None]
    look_at_exchanges(connection, must_exist)
    for topology in topologies:
        for name, arguments in _declared(topology):
            _declare(connection, topology, name, arguments)
        bind_all(connection, topology.queue, topology.bindings)


def survey(connection: BlockingConnection, topology: TopicTopology) -> dict[str, int | None]:
    """Messages ready in the main and the dead-letter queue, by name; None for one that ``ensure`` would create.

    Creates nothing. Raises what ``ensure`` would: a queue that is there is declared again, because only that tells its
    arguments, and changes nothing.
    """
    _refuse_missing(connection, [topology])
    names = (topology.queue, dead_queue(topology.queue))
    found = {name: _ready_count(connection, topology, name) for name in names}
    for name, arguments in _declared(topology):
        if found[name] is not None:
            _declare(connection, topology, name, arguments)
    look_at_exchanges(connection, topology.bindings)
    return found


def _declared(topology: TopicTopology) -> Iterator[tuple[str, Arguments]]:
    """The queues that are created before there is a message in them."""
    if (arguments := main_arguments(topology)) is not None:
        yield topology.queue, arguments
    if topology.declare:
        yield dead_queue(topology.queue), queue_arguments(topology.queue_type)


def _refuse_missing(connection: BlockingConnection, topologies: Iterable[TopicTopology]) -> None:
    """Raise ``UserMistake`` for all queues that are not there and that nobody here creates."""
    missing: dict[bool, list[str]] = {False: [], True: []}
    for topology in topologies:
        names = [topology.queue] if topology.is_existing else [] if topology.declare else _all_names(topology)
        absent = [name for name in names if _ready_count(connection, topology, name) is None]
        missing[topology.is_existing] += absent
    said = []
    for is_existing, absent in missing.items():
        nouns = f"the queue{'' if len(absent) == 1 else 's'} {', '.join(map(repr, absent))} must exist with topology="
        if absent and is_existing:
            said.append(f"{nouns}existing: create {'it' if len(absent) == 1 else 'them'}, or set topology=declare")
        elif absent:
            create = "create them with the arguments that docs/handlers.md lists"
            said.append(f"{nouns}passive: {create}, or set topology=declare")
    if said:
        raise UserMistake("; ".join(said))


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
    at, text = f"the queue {name!r} of topic {topology.topic!r}", told(text)
    if code == DIFFERS:
        return _precondition(topology, name, text)
    if code == LOCKED:
        return UserMistake(f"{at} is exclusive to another connection: delete it or set another queue for the topic")
    if code == REFUSED and (exchange := _REFUSED_EXCHANGE.search(text)):
        may = "grant this user the permissions to write to it and to read the queue"
        return UserMistake(f"the broker refuses {at} for its exchange {exchange['name']!r}: {may}")
    if code == REFUSED:
        return UserMistake(f"the broker refuses {at}: grant this user the permissions to configure, write and read it")
    return OperationFailed(f"the broker could not give us {at}: {code} {text}")


_REFUSED_EXCHANGE = re.compile(r"access to exchange '(?P<name>.*)' in vhost ", re.DOTALL)
_INVALID = re.compile(r"invalid arg '(?P<arg>[^']+)'")


def cannot_work(argument: str, found: str) -> str | None:
    """Why no topic can consume a queue whose ``argument`` the broker told to be ``found``; None if one can."""
    value = plain_value(found)
    why = None
    if argument == "x-queue-type" and value not in ("classic", "quorum", "none"):
        why = f"exists as a {value} queue, from which no topic can consume: messages that are done would not leave it"
    elif argument == "durable" and value == "false":
        why = "exists as a transient queue, which loses its messages with a restart of the broker"
    elif argument == "auto_delete" and value == "true":
        why = "exists as an auto-delete queue, which goes with its messages when its last consumer does"
    elif argument == "exclusive" and value == "true":
        why = "exists as an exclusive queue, which its own connection alone may use"
    return why and f"{why}: set another queue for the topic, or delete this one"


def _precondition(topology: TopicTopology, name: str, text: str) -> OperationFailed | UserMistake:
    """What a 406 to our declare means: the queue is there and differs, or it is not declared for another reason."""
    at = f"the queue {name!r} of topic {topology.topic!r}"
    sent = dict(_declared(topology)).get(name, {})
    if (differs := inequivalence(text, queue=name, sent=sent)) is not None:
        return UserMistake(_difference(topology, name, differs))
    invalid = _INVALID.search(text)
    if invalid and name == topology.queue and invalid["arg"] in topology.arguments:
        key = dotted(f"{dotted('topics', topology.topic)}.queue_arguments", invalid["arg"])
        return UserMistake(f"the broker refuses {key} for {at} ({text}): correct it or leave it out")
    return OperationFailed(f"the broker does not declare {at}: {text}")


def _difference(topology: TopicTopology, name: str, differs: Inequivalence) -> str:
    """What it means that the queue is there in another form, and what to do."""
    at, topic = f"the queue {name!r} of topic {topology.topic!r}", dotted("topics", topology.topic)
    is_main = name == topology.queue
    otherwise = f"{topic}.topology={'existing' if is_main else 'passive'}"
    argument, wanted, found = differs.argument, differs.wanted, differs.found
    if found is None:
        untold = f"{at} exists with another {argument} than wanted, and the broker's answer has no room to tell which"
        return f"{untold}: look at the queue, then set {otherwise} or another queue for the topic"
    if is_main and (why := cannot_work(argument, found)):
        return f"{at} {why}"
    if argument == "x-queue-type":
        found = "classic" if differs.is_absent else found
        what, first = f"{at} exists as a {found} queue, not {wanted}", f"set {topic}.queue_type={found}, "
        first = first if found in ("classic", "quorum") else ""
    else:
        what = f"{at} exists with {argument} {found}, not {wanted}"
        first = _as_it_is(topology, differs) if is_main else ""
    return f"{what}: {first}set {otherwise}, or move its messages and delete it"


def _as_it_is(topology: TopicTopology, differs: Inequivalence) -> str:
    """How the configuration would agree with a queue that is there, where it can."""
    key = dotted(f"{dotted('topics', topology.topic)}.queue_arguments", differs.argument)
    if differs.is_absent:
        return f"leave {key} out, " if differs.argument in topology.arguments else ""
    return f"set {key}={differs.found}, " if differs.argument in KNOWN else ""
