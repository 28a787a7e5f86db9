"""Queues that are bound to exchanges, again where they were deleted."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.bindings import bind_all
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.topology import ensure, survey
from hermes_ray.errors import OperationFailed, UserMistake
from tests.support.ledger import Ledger, publish, until
from tests.support.own_queues import QUORUM, arguments_of, binding, crawl, listed, refused
from tests.support.probing import probing
from tests.support.rabbitmqctl import ctl
from tests.support.workers import working


def test_a_queue_is_bound_where_its_topic_says_so_again_and_again(
    broker: LocalBroker, vhost: str, connection: BlockingConnection
) -> None:
    channel = connection.channel()
    channel.exchange_declare("games", "topic", durable=True)
    bindings = (
        binding("games", "pgcr.#"),
        binding("made", "x", "direct"),
        binding("heads", "", "headers", **{"x-match": "all", "game": "d2"}),
    )
    for _ in range(2):
        ensure(connection, [crawl(bindings=bindings)])

    channel.confirm_delivery()
    channel.basic_publish("games", "pgcr.a.b", b"1", mandatory=True)
    channel.basic_publish("made", "x", b"2", mandatory=True)
    channel.basic_publish("heads", "", b"3", BasicProperties(headers={"game": "d2"}), mandatory=True)
    assert [channel.basic_get("crawl")[2] for _ in range(3)] == [b"1", b"2", b"3"]
    durable = {row["name"]: row["durable"] for row in listed(broker, vhost, "list_exchanges", "name", "durable")}
    assert durable["made"]
    assert durable["heads"]


def test_exchanges_that_are_not_there_are_named_together_before_anything_is_declared(
    broker: LocalBroker, vhost: str, connection: BlockingConnection
) -> None:
    topology = crawl(bindings=(binding("one"), binding("two"), binding("made", "", "fanout")))
    said = refused(connection, topology)

    missing = "; ".join(
        f"topics.crawl.bindings[0].exchange is '{name}', an exchange that does not exist" for name in ("one", "two")
    )
    assert said == f"{missing}: create them, or set exchange_type on the binding"
    assert arguments_of(broker, vhost) == {}
    with pytest.raises(UserMistake, match=re.escape(said)):
        survey(connection, topology)


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        (
            {"exchange_type": "fanout", "durable": True},
            "exchange_type is 'topic', but the exchange 'games' exists as a fa",
        ),
        (
            {"exchange_type": "topic"},
            "exchange_type is 'topic', but the exchange 'games' exists with durable false: leave",
        ),
    ],
)
def test_an_exchange_of_another_form_is_refused_by_key(
    connection: BlockingConnection, there: dict[str, Any], sentence: str
) -> None:
    connection.channel().exchange_declare("games", **there)
    topology = crawl(bindings=(binding("games", "a", "topic"),))
    assert f"topics.crawl.bindings[0].{sentence}" in refused(connection, topology)
    with pytest.raises(UserMistake, match=r"bindings\[0\]\.exchange_type is 'topic', but"):
        survey(connection, topology)


def test_a_binding_without_permission_is_named(broker: LocalBroker, vhost: str, connection: BlockingConnection) -> None:
    connection.channel().exchange_declare("games", "topic", durable=True)
    ctl(broker, "set_permissions", "--vhost", vhost, "guest", ".*", ".*", "^crawl.*")
    assert "the broker refuses topics.crawl.bindings[0], the exchange 'games': grant this user" in refused(
        connection, crawl(bindings=(binding("games"),))
    )


def test_a_queue_that_is_called_like_a_refusal_is_no_exchange_that_is_missing(connection: BlockingConnection) -> None:
    with pytest.raises(OperationFailed, match="NOT_FOUND - no queue 'no exchange'"):
        bind_all(connection, "no exchange", [binding("amq.direct")])


def test_looking_binds_and_declares_nothing(broker: LocalBroker, vhost: str, connection: BlockingConnection) -> None:
    before = listed(broker, vhost, "list_exchanges", "name")
    survey(connection, crawl(bindings=(binding("made", "x", "direct"),)))
    assert listed(broker, vhost, "list_exchanges", "name") == before
    assert arguments_of(broker, vhost) == {}


def bound_keys(broker: LocalBroker, vhost: str) -> list[str]:
    rows = listed(broker, vhost, "list_bindings", "source_name", "routing_key")
    return [row["routing_key"] for row in rows if row["source_name"] == "games"]


def test_a_queue_that_was_deleted_comes_back_bound_while_nobody_consumes(
    broker: LocalBroker, vhost: str, vhost_url: str, connection: BlockingConnection
) -> None:
    topology = crawl(arguments={"x-max-length": 9}, bindings=(binding("games", "pgcr.#", "topic"),))
    ensure(connection, [topology])
    with probing(vhost_url, topology) as prober:
        until(lambda: "crawl" in prober.probes(), "it comes to be so")
        connection.channel().queue_delete("crawl")
        until(lambda: bound_keys(broker, vhost) == ["pgcr.#"], "it comes to be so")
    assert arguments_of(broker, vhost)["crawl"] == QUORUM | {"x-max-length": 9}


def test_a_queue_that_was_deleted_under_its_worker_comes_back_bound(
    broker: LocalBroker, vhost: str, vhost_url: str, connection: BlockingConnection, ledger: Ledger
) -> None:
    bindings = (binding("games", "pgcr.#", "topic"),)
    with working(vhost_url, ledger.note, bindings=bindings):
        until(lambda: bound_keys(broker, vhost) == ["pgcr.#"], "it comes to be so")
        connection.channel().queue_delete("q")
        until(lambda: bound_keys(broker, vhost) == ["pgcr.#"], "it comes to be so")


def test_a_binding_that_the_broker_refuses_takes_no_worker_away(vhost_url: str, ledger: Ledger) -> None:
    with working(vhost_url, ledger.note, bindings=(binding("gone", "x"),)):
        publish(vhost_url, 2)
        until(lambda: len(ledger.handled()) == 2, "both messages are handled")
