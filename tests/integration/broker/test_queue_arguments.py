"""Queues with arguments of a topic's own, which the broker takes or refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import ensure, queue_arguments, survey
from tests.support.ledger import Ledger, publish, until
from tests.support.own_queues import SINGLE, arguments_of, crawl, refused
from tests.support.workers import working


@pytest.mark.parametrize(
    ("queue_type", "own"),
    [
        ("quorum", {"x-max-length": 100_000, "x-overflow": "reject-publish", "x-single-active-consumer": True}),
        ("classic", {"x-max-priority": 5, "x-message-ttl": 3_600_000, "x-queue-mode": "lazy", "x-mine": "any"}),
    ],
)
def test_the_main_queue_alone_has_the_arguments_of_its_topic_beside_ours(
    broker: LocalBroker, vhost: str, connection: BlockingConnection, queue_type: str, own: dict[str, Any]
) -> None:
    topology = crawl(queue_type=queue_type, arguments=own)
    ensure(connection, [topology])
    ensure(connection, [topology])

    ours = queue_arguments(queue_type)
    assert arguments_of(broker, vhost) == {"crawl": ours | own, "crawl.dead": ours}
    assert survey(connection, topology) == {"crawl": 0, "crawl.dead": 0}


@pytest.mark.parametrize(
    ("there", "wanted", "sentence"),
    [
        ({}, {"x-max-length": 5}, "with x-max-length none, not 5: set topics.crawl.topology=existing, or move its"),
        ({"x-max-length": 7}, {"x-max-length": 5}, "with x-max-length 7, not 5: set topics.crawl.queue_arguments.x-m"),
        (
            {"x-max-length": 7},
            {},
            "with x-max-length 7, not none: set topics.crawl.queue_arguments.x-max-length=7, set",
        ),
        (SINGLE, {}, "not none: set topics.crawl.queue_arguments.x-single-active-consumer=true, set topics.crawl.topo"),
    ],
)
def test_a_change_of_arguments_is_refused_with_what_differs_and_what_to_do(
    connection: BlockingConnection, there: dict[str, Any], wanted: dict[str, Any], sentence: str
) -> None:
    ensure(connection, [crawl(arguments=there)])
    said = refused(connection, crawl(arguments=wanted))
    if not there:
        sentence = sentence.replace("set topics", "leave topics.crawl.queue_arguments.x-max-length out, set topics", 1)
    assert said.startswith("the queue 'crawl' of topic 'crawl' exists ")
    assert sentence in said


def test_an_argument_that_the_broker_refuses_is_named_with_its_key(connection: BlockingConnection) -> None:
    said = refused(connection, crawl(queue_type="classic", arguments={"x-queue-leader-locator": "balanced"}))
    assert said.startswith(
        "the broker refuses topics.crawl.queue_arguments.x-queue-leader-locator for the queue 'crawl'"
    )


def test_a_worker_declares_its_queue_as_it_was_declared_and_consumes(
    vhost_url: str, connection: BlockingConnection, ledger: Ledger
) -> None:
    own = {"x-max-length": 1000, **SINGLE}
    ensure(connection, [TopicTopology(topic="t", queue="q", arguments=own)])
    with working(vhost_url, ledger.note, arguments=own):
        ids = publish(vhost_url, 1)
        until(lambda: list(ledger.handled()) == ids, "the message is handled")
