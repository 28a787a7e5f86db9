"""The queues of a topic on a real broker, and what is said when they cannot be had."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.connection import backoff_s, connect
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import dead_queue, ensure, queue_arguments, wait_arguments, wait_queue
from hermes_ray.errors import OperationFailed, UserMistake
from tests.support.probing import missed_queues
from tests.support.rabbitmqctl import ctl


def declared(broker: LocalBroker, vhost: str) -> dict[str, dict[str, Any]]:
    columns = ("name", "type", "durable", "auto_delete", "arguments")
    rows = json.loads(ctl(broker, "list_queues", "--vhost", vhost, "--formatter", "json", *columns))
    return {row["name"]: row for row in rows}


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_ensure_declares_a_durable_main_and_dead_letter_queue_and_nothing_else(
    broker: LocalBroker, vhost: str, connection: BlockingConnection, queue_type: str
) -> None:
    ensure(connection, [TopicTopology(topic="crawl", queue="crawl.q", queue_type=queue_type, rungs_ms=(1000,))])

    queues = declared(broker, vhost)
    assert set(queues) == {"crawl.q", "crawl.q.dead"}
    assert all(queue["durable"] and not queue["auto_delete"] for queue in queues.values())
    assert {queue["type"] for queue in queues.values()} == {queue_type}
    limited = [argument for argument in queues["crawl.q"]["arguments"] if argument[0] == "x-delivery-limit"]
    assert [value for _, _, value in limited] == ([1_000_000] if queue_type == "quorum" else [])


def test_ensure_twice_changes_nothing_and_keeps_the_messages(connection: BlockingConnection) -> None:
    topology = TopicTopology(topic="crawl", queue="crawl")
    ensure(connection, [topology])
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("", "crawl", b"kept", BasicProperties(delivery_mode=2), mandatory=True)

    ensure(connection, [topology])

    assert channel.basic_get("crawl")[2] == b"kept"


def test_a_classic_queue_declared_without_a_type_is_taken_as_it_is(connection: BlockingConnection) -> None:
    connection.channel().queue_declare("old", durable=True)
    ensure(connection, [TopicTopology(topic="crawl", queue="old", queue_type="classic")])


CLASSIC = {"x-queue-type": "classic"}


@pytest.mark.parametrize(
    ("existing", "sentence"),
    [
        ({"durable": True}, "exists as a classic queue, not quorum: set topics.crawl.queue_type=classic, set topics."),
        (
            {"durable": True, "arguments": CLASSIC},
            "set topics.crawl.queue_type=classic, set topics.crawl.topology=existing, or move its messages and delete",
        ),
        (
            {"durable": True, "arguments": {"x-queue-type": "stream"}},
            "exists as a stream queue, from which no topic can consume: messages that are done would not leave it: set",
        ),
        (
            {"durable": False},
            "exists as a transient queue, which loses its messages with a restart of the broker: set another queue",
        ),
        (
            {"durable": True, "auto_delete": True, "arguments": CLASSIC},
            "exists as an auto-delete queue, which goes with its messages when its last consumer does: set another",
        ),
        (
            {"durable": True, "arguments": queue_arguments("quorum") | {"x-delivery-limit": 5}},
            "exists with x-delivery-limit 5, not 1000000: set topics.crawl.topology=existing, or move its messages and",
        ),
        (
            {"durable": True, "arguments": {"x-queue-type": "quorum"}},
            "exists with x-delivery-limit none, not 1000000: set topics.crawl.topology=existing",
        ),
        (
            {"durable": True, "arguments": queue_arguments("quorum") | {"x-message-ttl": 1000}},
            "exists with x-message-ttl 1000, not none: set topics.crawl.queue_arguments.x-message-ttl=1000, set topic",
        ),
    ],
)
def test_a_queue_with_other_arguments_is_refused_with_what_differs_and_what_to_do(
    connection: BlockingConnection, existing: dict[str, Any], sentence: str
) -> None:
    connection.channel().queue_declare("mine", **existing)

    with pytest.raises(UserMistake) as refused:
        ensure(connection, [TopicTopology(topic="crawl", queue="mine")])

    assert sentence in str(refused.value)
    assert str(refused.value).startswith("the queue 'mine' of topic 'crawl' exists ")


def test_a_dead_letter_queue_with_other_arguments_is_refused_too(connection: BlockingConnection) -> None:
    connection.channel().queue_declare("mine.dead", durable=True)

    with pytest.raises(UserMistake, match=r"'mine\.dead' of topic 'crawl' exists as a classic queue"):
        ensure(connection, [TopicTopology(topic="crawl", queue="mine")])


def test_queues_that_are_not_there_as_they_must_leave_no_other_one_declared(
    broker: LocalBroker, vhost: str, connection: BlockingConnection
) -> None:
    with pytest.raises(UserMistake, match=r"'given', 'given\.dead' must exist with topology=passive"):
        ensure(
            connection,
            [TopicTopology(topic="new", queue="new"), TopicTopology(topic="given", queue="given", declare=False)],
        )
    assert declared(broker, vhost) == {}


def test_creating_queues_costs_no_line_in_the_brokers_log(
    broker: LocalBroker, vhost: str, connection: BlockingConnection
) -> None:
    ensure(connection, [TopicTopology(topic=f"t{n}", queue=f"t{n}") for n in range(3)])
    assert missed_queues(broker, vhost) == []


def test_an_exclusive_queue_of_somebody_else_is_refused(connection: BlockingConnection, vhost_url: str) -> None:
    other = connect([vhost_url], name="test/other")
    other.channel().queue_declare("mine", exclusive=True)

    with pytest.raises(UserMistake, match="'mine' of topic 'crawl' is exclusive to another connection"):
        ensure(connection, [TopicTopology(topic="crawl", queue="mine")])
    other.close()


def test_missing_permissions_are_named(broker: LocalBroker, vhost: str, connection: BlockingConnection) -> None:
    ctl(broker, "set_permissions", "--vhost", vhost, "guest", "^$", "^$", "^$")

    with pytest.raises(UserMistake, match="refuses the queue 'mine' of topic 'crawl': grant this user the permissions"):
        ensure(connection, [TopicTopology(topic="crawl", queue="mine")])


def test_passive_topology_names_all_missing_queues_of_all_topics_at_once(connection: BlockingConnection) -> None:
    ensure(connection, [TopicTopology(topic="there", queue="there")])

    with pytest.raises(UserMistake) as refused:
        ensure(
            connection,
            [
                TopicTopology(topic="gone", queue="gone", declare=False, rungs_ms=(1000, 1414)),
                TopicTopology(topic="there", queue="there", declare=False, rungs_ms=(500,)),
            ],
        )

    assert str(refused.value) == (
        "the queues 'gone', 'gone.dead', 'gone.wait.1000', 'gone.wait.1414', 'there.wait.500' must exist with "
        "topology=passive: create them with the arguments that docs/handlers.md lists, or set topology=declare"
    )


def test_passive_topology_declares_nothing_and_accepts_queues_of_any_form(
    broker: LocalBroker, vhost: str, connection: BlockingConnection
) -> None:
    channel = connection.channel()
    for name in ("theirs", dead_queue("theirs"), wait_queue("theirs", 1000)):
        channel.queue_declare(name, durable=True)
    before = declared(broker, vhost)

    ensure(connection, [TopicTopology(topic="crawl", queue="theirs", declare=False, rungs_ms=(1000,))])

    assert declared(broker, vhost) == before


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_a_message_in_a_wait_queue_comes_back_unchanged_after_its_delay(
    connection: BlockingConnection, queue_type: str
) -> None:
    ensure(connection, [TopicTopology(topic="crawl", queue="crawl", queue_type=queue_type)])
    channel = connection.channel()
    waiting = wait_queue("crawl", 300)
    channel.queue_declare(waiting, durable=True, arguments=wait_arguments("crawl", queue_type, 300))
    channel.confirm_delivery()
    properties = BasicProperties(delivery_mode=2, message_id="7", headers={"x-hermes-attempt": 2})
    sent_s = time.monotonic()
    channel.basic_publish("", waiting, b"\x00body", properties, mandatory=True)

    channel.basic_qos(prefetch_count=1)
    _, came, body = next(iter(channel.consume("crawl", inactivity_timeout=10.0)))

    assert time.monotonic() - sent_s >= 0.29
    assert body == b"\x00body"
    assert came is not None
    assert came.message_id == "7"
    assert (came.headers or {})["x-hermes-attempt"] == 2


def test_the_broker_shows_connections_by_their_name(broker: LocalBroker, connection: BlockingConnection) -> None:
    assert connection.is_open
    assert '{"connection_name","tests/broker"}' in ctl(broker, "list_connections", "client_properties")


def test_a_refused_login_is_told_at_once_and_without_the_password(vhost_url: str) -> None:
    url = vhost_url.replace("guest:guest", "guest:s3cret")
    started_s = time.monotonic()

    with pytest.raises(OperationFailed, match="refused the login: correct user and password") as refused:
        connect([url], name="test/refused", wait_s=30)

    assert time.monotonic() - started_s < 10
    assert "s3cret" not in str(refused.value)


def test_a_missing_virtual_host_is_told_at_once(broker: LocalBroker) -> None:
    with pytest.raises(OperationFailed, match=r"/nowhere has no such virtual host: create it or correct broker\.url"):
        connect([broker.url("nowhere")], name="test/refused", wait_s=30)


def test_a_virtual_host_without_permission_is_told_apart_from_a_missing_one(broker: LocalBroker) -> None:
    ctl(broker, "add_vhost", "closed")
    with pytest.raises(OperationFailed, match="refused this user the virtual host: grant it permissions"):
        connect([broker.url("closed")], name="test/refused", wait_s=30)


def test_all_brokers_that_do_not_answer_are_named_with_the_reason() -> None:
    urls = ["amqp://me:s3cret@127.0.0.1:1/", "amqp://me:s3cret@127.0.0.1:2/"]

    with pytest.raises(OperationFailed) as failed:
        connect(urls, name="test/unreachable", wait_s=0.3)

    words = str(failed.value)
    assert words.startswith("no broker answered within 0.3 s at amqp://me:")
    assert words.endswith("@127.0.0.1:2/ (Connection refused): start it or correct broker.url")
    assert "s3cret" not in words


def test_the_second_broker_of_a_list_is_taken_when_the_first_is_away(vhost_url: str) -> None:
    connection = connect(["amqp://guest:guest@127.0.0.1:1/", vhost_url], name="test/second")
    assert connection.is_open
    connection.close()


def test_connect_waits_for_a_broker_that_comes_late() -> None:
    node = LocalBroker()
    starting = threading.Thread(target=node.start)
    starting.start()
    try:
        connection = connect([node.url()], name="test/late", wait_s=60)
        assert connection.is_open
        connection.close()
    finally:
        starting.join()
        node.stop()


def test_the_pause_before_a_retry_doubles_with_full_jitter_up_to_15_s() -> None:
    assert [backoff_s(attempt, lambda: 1.0) for attempt in (0, 1, 4, 5, 10_000)] == [0.5, 1.0, 8.0, 15.0, 15.0]
    assert backoff_s(3, lambda: 0.25) == 1.0
    assert backoff_s(9, lambda: 0.0) == 0.0
