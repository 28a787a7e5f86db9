"""Queues that exist already, taken as they are."""

from __future__ import annotations

from typing import Any

import pytest
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_form import look_at
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import ensure, wait_arguments
from hermes_ray.errors import UserMistake
from tests.support.ledger import Ledger, publish, until
from tests.support.own_queues import CLASSIC, QUORUM, arguments_of, crawl
from tests.support.probing import probing
from tests.support.workers import working


@pytest.mark.parametrize("own", [CLASSIC, {}, QUORUM | {"x-delivery-limit": 5}, CLASSIC | {"x-max-priority": 9}])
def test_an_existing_queue_is_taken_as_it_is_beside_our_dead_letters(
    broker: LocalBroker, vhost: str, connection: BlockingConnection, own: dict[str, Any]
) -> None:
    connection.channel().queue_declare("crawl", durable=True, arguments=own)
    topology = crawl(is_existing=True)
    ensure(connection, [topology])
    assert arguments_of(broker, vhost) == {"crawl": own, "crawl.dead": QUORUM}
    look = look_at(connection, topology)
    assert (look.ready_counts, look.single_active) == ({"crawl": 0, "crawl.dead": 0}, False)


def test_an_existing_queue_that_is_missing_is_named_and_nothing_is_declared(
    broker: LocalBroker, vhost: str, connection: BlockingConnection
) -> None:
    topologies = [crawl(is_existing=True), TopicTopology(topic="given", queue="given", declare=False)]
    with pytest.raises(UserMistake) as mistake:
        ensure(connection, topologies)
    assert str(mistake.value) == (
        "the queues 'given', 'given.dead' must exist with topology=passive: create them with the arguments that "
        "docs/handlers.md lists, or set topology=declare; the queue 'crawl' must exist with topology=existing: create "
        "it, or set topology=declare"
    )
    assert arguments_of(broker, vhost) == {}


def test_an_existing_queue_that_was_deleted_is_not_made_anew(
    broker: LocalBroker, vhost: str, vhost_url: str, connection: BlockingConnection
) -> None:
    channel = connection.channel()
    channel.queue_declare("crawl", durable=True)
    topology = crawl(is_existing=True)
    ensure(connection, [topology])
    with probing(vhost_url, topology) as prober:
        until(lambda: "crawl" in prober.probes(), "it comes to be so")
        channel.queue_delete("crawl")
        channel.queue_delete("crawl.dead")
        until(lambda: "crawl" in prober.failures, "it comes to be so")
        channel.queue_declare("crawl", durable=True)
        until(lambda: set(arguments_of(broker, vhost)) == {"crawl", "crawl.dead"}, "it comes to be so")
    assert arguments_of(broker, vhost)["crawl"] == {}


def test_retries_of_an_existing_classic_queue_wait_in_quorum_queues_and_come_back(
    vhost_url: str, connection: BlockingConnection, ledger: Ledger
) -> None:
    connection.channel().queue_declare("q", durable=True, arguments={"x-max-priority": 5})

    def handle(message: Any) -> None:
        ledger.note(message)
        if message.attempt == 1:
            raise RuntimeError("once")

    with working(vhost_url, handle, is_existing=True, rungs_ms=(300,)):
        publish(vhost_url, 1)
        until(lambda: ledger.attempts() == {1, 2}, "the second attempt")
    waiting = connection.channel().queue_declare(
        "q.wait.300", durable=True, arguments=wait_arguments("q", "quorum", 300)
    )
    assert waiting.method.message_count == 0
