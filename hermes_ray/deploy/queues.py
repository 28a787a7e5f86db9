"""The queues of a configuration at its broker: declaring them, and what those that are there are like."""

from __future__ import annotations

from collections.abc import Iterator

from hermes_ray.broker.connection import closing, connect
from hermes_ray.broker.queue_form import has_single_active_consumer
from hermes_ray.broker.topology import ensure
from hermes_ray.config.queue_arguments import SINGLE_ACTIVE, unknown
from hermes_ray.config.sentences import dotted
from hermes_ray.config.settings import Config
from hermes_ray.scaler.plan import topology_of

__all__ = ["BROKER_WAIT_S", "declare_queues", "single_active_topics", "unknown_arguments"]

BROKER_WAIT_S = 30.0


def declare_queues(config: Config) -> None:
    """Make sure every topic's queues exist and are bound; waits up to 30 s for the broker."""
    connection = connect(config.broker.urls, name=f"{config.deployment.name}/serve", wait_s=BROKER_WAIT_S)
    with closing(connection):
        ensure(connection, [topology_of(config, topic) for topic in config.topics])


def single_active_topics(config: Config) -> frozenset[str]:
    """The topics whose queue serves one consumer at a time: it says so itself, where it is not ours to declare.

    Raises ``UserMistake`` for a queue that cannot be consumed.
    """
    said = {name for name, topic in config.topics.items() if topic.queue_arguments.get(SINGLE_ACTIVE) is True}
    theirs = [name for name, topic in config.topics.items() if topic.topology != "declare"]
    if theirs:
        connection = connect(config.broker.urls, name=f"{config.deployment.name}/serve", wait_s=BROKER_WAIT_S)
        with closing(connection):
            said |= {name for name in theirs if has_single_active_consumer(connection, topology_of(config, name))}
    return frozenset(said)


def unknown_arguments(config: Config) -> Iterator[tuple[str, str]]:
    """What is to be said of arguments that nobody here knows, each with its topic."""
    for name, topic in config.topics.items():
        at = f"{dotted('topics', name)}.queue_arguments"
        for argument, said in unknown(topic.queue_arguments).items():
            yield name, f"{dotted(at, argument)} {said}"
