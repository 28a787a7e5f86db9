"""Queues of a topic called crawl, and what the broker lists of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.bindings import Binding
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import ensure, queue_arguments
from hermes_ray.errors import UserMistake
from tests.support.rabbitmqctl import ctl

QUORUM = queue_arguments("quorum")
CLASSIC = queue_arguments("classic")
SINGLE = {"x-single-active-consumer": True}


def listed(broker: LocalBroker, vhost: str, what: str, *columns: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(ctl(broker, what, "--vhost", vhost, "--formatter", "json", *columns))
    return rows


def arguments_of(broker: LocalBroker, vhost: str) -> dict[str, dict[str, Any]]:
    rows = listed(broker, vhost, "list_queues", "name", "arguments")
    return {row["name"]: {name: value for name, _, value in row["arguments"]} for row in rows}


def binding(exchange: str, routing_key: str = "", exchange_type: str | None = None, **more: Any) -> Binding:
    return Binding(
        key="topics.crawl.bindings[0]",
        exchange=exchange,
        routing_key=routing_key,
        exchange_type=exchange_type,
        arguments=more,
    )


def crawl(**more: Any) -> TopicTopology:
    return TopicTopology(topic="crawl", queue="crawl", **more)


def refused(connection: BlockingConnection, topology: TopicTopology) -> str:
    """What declaring says; looking says the same."""
    with pytest.raises(UserMistake) as mistake:
        ensure(connection, [topology])
    return str(mistake.value)
