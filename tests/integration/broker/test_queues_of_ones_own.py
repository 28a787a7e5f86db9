"""Queues with arguments and bindings of a topic's own, those that exist already, and those that cannot work."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.bindings import Binding, bind_all
from hermes_ray.broker.connection import connect
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_form import has_single_active_consumer, look_at
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import ensure, queue_arguments, survey, wait_arguments
from hermes_ray.cli.check import _queues
from hermes_ray.cli.main import cli
from hermes_ray.config.loading import load
from hermes_ray.deploy.queues import declare_queues
from hermes_ray.errors import OperationFailed, UserMistake
from tests.support.ledger import Ledger, publish, until
from tests.support.probing import probing
from tests.support.rabbitmqctl import ctl
from tests.support.workers import working

QUORUM = queue_arguments("quorum")
CLASSIC = queue_arguments("classic")
SINGLE = {"x-single-active-consumer": True}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def connection(vhost_url: str) -> Iterator[BlockingConnection]:
    connection = connect([vhost_url], name="test/own")
    yield connection
    if connection.is_open:
        connection.close()


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


# arguments


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


# bindings


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


# queues that exist


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


# forms


FORMS: list[tuple[dict[str, Any], str]] = [
    (
        {"durable": True, "arguments": {"x-queue-type": "stream"}},
        "exists as a stream queue, from which no topic can co",
    ),
    (
        {"durable": True, "arguments": {"x-queue-type": "stream", "x-max-age": "1D"}},
        "exists as a stream queue, from wh",
    ),
    ({"durable": False}, "exists as a transient queue, which loses its messages"),
    ({"durable": False, "arguments": {"x-max-length": 3, **SINGLE}}, "exists as a transient queue, which loses its me"),
    ({"durable": True, "auto_delete": True}, "exists as an auto-delete queue, which goes with its messages"),
]


@pytest.mark.parametrize(("form", "sentence"), FORMS)
@pytest.mark.parametrize("topology", [crawl(), crawl(is_existing=True), crawl(declare=False)])
def test_a_queue_that_cannot_work_is_refused_whatever_the_topology(
    connection: BlockingConnection, form: dict[str, Any], sentence: str, topology: TopicTopology
) -> None:
    channel = connection.channel()
    channel.queue_declare("crawl", **form)
    channel.queue_declare("crawl.dead", durable=True, arguments=QUORUM)
    with pytest.raises(UserMistake) as mistake:
        look_at(connection, topology)
    assert str(mistake.value).startswith(f"the queue 'crawl' of topic 'crawl' {sentence}")
    assert str(mistake.value).endswith(": set another queue for the topic, or delete this one")


@pytest.mark.parametrize("topology", [crawl(), crawl(is_existing=True), crawl(declare=False)])
def test_a_queue_that_is_exclusive_to_another_connection_is_refused_whatever_the_topology(
    connection: BlockingConnection, vhost_url: str, topology: TopicTopology
) -> None:
    other = connect([vhost_url], name="test/other")
    other.channel().queue_declare("crawl", exclusive=True)
    with pytest.raises(UserMistake, match="'crawl' of topic 'crawl' is exclusive to another connection"):
        look_at(connection, topology)
    other.close()


@pytest.mark.parametrize("own", [CLASSIC, QUORUM | SINGLE])
@pytest.mark.parametrize("given", [{"is_existing": True}, {"declare": False}])
def test_a_queue_that_rejects_retries_which_wait_in_classic_queues_is_refused(
    connection: BlockingConnection, own: dict[str, Any], given: dict[str, Any]
) -> None:
    connection.channel().queue_declare("crawl", durable=True, arguments=own | {"x-overflow": "reject-publish"})
    with pytest.raises(UserMistake) as mistake:
        has_single_active_consumer(connection, crawl(queue_type="classic", **given))
    assert str(mistake.value) == (
        "the queue 'crawl' of topic 'crawl' exists with x-overflow reject-publish, and a retry that comes back to it "
        "from a classic queue may be lost: set topics.crawl.queue_type=quorum, so that retries wait in quorum queues"
    )
    assert has_single_active_consumer(connection, crawl(**given)) == (SINGLE.items() <= own.items())


@pytest.mark.parametrize("own", [{}, CLASSIC | {"x-overflow": "drop-head"}, QUORUM | {"x-expires": 10**8}])
def test_retries_may_wait_in_classic_queues_of_one_that_takes_them(
    connection: BlockingConnection, own: dict[str, Any]
) -> None:
    connection.channel().queue_declare("crawl", durable=True, arguments=own)
    look = look_at(connection, crawl(queue_type="classic", is_existing=True))
    assert (look.untold, look.single_active) == ("", False)


@pytest.mark.parametrize(
    "own",
    [
        SINGLE,
        QUORUM | SINGLE,
        CLASSIC | SINGLE | {"x-max-priority": 5, "x-message-ttl": 99, "x-queue-mode": "lazy", "x-max-length": 7},
        {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "it's 'current is none'", "x-expires": 10**10}
        | QUORUM
        | SINGLE
        | {"x-delivery-limit": 5, "x-overflow": "reject-publish", "x-quorum-initial-group-size": 1},
        CLASSIC | SINGLE | {"x-dead-letter-exchange": "5", "x-dead-letter-routing-key": "true"},
        QUORUM | SINGLE | {"x-dead-letter-exchange": "a but current is b", "x-dead-letter-routing-key": "5' of"},
    ],
)
def test_a_single_active_consumer_is_seen_whatever_else_the_queue_has(
    connection: BlockingConnection, own: dict[str, Any]
) -> None:
    connection.channel().queue_declare("crawl", durable=True, arguments=own)
    for topology in (crawl(is_existing=True), crawl(declare=False)):
        assert has_single_active_consumer(connection, topology)


@pytest.mark.parametrize("own", [{}, QUORUM, CLASSIC, QUORUM | {"x-single-active-consumer": False, "x-expires": 10**8}])
def test_other_queues_have_none(connection: BlockingConnection, own: dict[str, Any]) -> None:
    connection.channel().queue_declare("crawl", durable=True, arguments=own)
    assert not has_single_active_consumer(connection, crawl(is_existing=True))


@pytest.mark.parametrize("length", [80, 101, 110, 115, 130, 200, 250])
@pytest.mark.parametrize(
    ("own", "single"),
    [({}, False), (QUORUM, False), (CLASSIC | {"x-max-priority": 5}, False), (SINGLE, True), (QUORUM | SINGLE, True)],
)
def test_of_a_queue_with_a_long_name_the_form_is_told_as_it_is_or_not_at_all(
    connection: BlockingConnection, length: int, own: dict[str, Any], single: bool
) -> None:
    name = "x" * length
    connection.channel().queue_declare(name, durable=True, arguments=own)
    look = look_at(connection, TopicTopology(topic="crawl", queue=name, is_existing=True))
    assert look.untold or look.single_active == single
    assert length > 80 or not look.untold


@pytest.mark.parametrize("length", [110, 130, 200, 250])
def test_a_stream_with_a_long_name_is_refused_or_not_told(connection: BlockingConnection, length: int) -> None:
    name = "x" * length
    connection.channel().queue_declare(name, durable=True, arguments={"x-queue-type": "stream"})
    try:
        said = look_at(connection, TopicTopology(topic="crawl", queue=name, is_existing=True)).untold
    except UserMistake as mistake:
        said = str(mistake)
    assert re.search("exists as a stream queue|the broker's answer has no room for its x-queue-type", said)


def test_a_queue_with_a_long_name_that_differs_untold_is_not_to_be_deleted(connection: BlockingConnection) -> None:
    name = "é" * 110
    connection.channel().queue_declare(name, durable=True, arguments=QUORUM | {"x-max-length": 7777})
    said = refused(connection, TopicTopology(topic="crawl", queue=name, arguments={"x-max-length": 5555}))
    assert "exists with another x-max-length than wanted" in said
    assert "delete" not in said


def test_a_limit_of_queues_is_told_in_the_brokers_words(
    broker: LocalBroker, vhost: str, connection: BlockingConnection
) -> None:
    ctl(broker, "set_vhost_limits", "--vhost", vhost, '{"max-queues": 0}')
    with pytest.raises(
        OperationFailed, match=r"^the broker does not declare the queue 'crawl' of topic 'crawl': .*lim"
    ):
        ensure(connection, [crawl()])


def test_what_ends_the_connection_is_told_by_every_command_in_the_brokers_words(
    broker: LocalBroker, vhost: str, vhost_url: str
) -> None:
    user = f"few-{vhost}"
    ctl(broker, "add_user", user, "s3cret")
    ctl(broker, "set_permissions", "--vhost", vhost, user, ".*", ".*", ".*")
    ctl(broker, "set_user_limits", user, '{"max-channels": 0}')
    url = vhost_url.replace("guest:guest", f"{user}:s3cret")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMES_BROKER_URL", url)
        config = load(None, ["topics.a.handler=m:f", "topics.b.handler=m:f"])
        published = CliRunner().invoke(cli, ["publish", "topic=a", "count=1"])
    findings = [finding for finding in _queues(config, None) if finding.about == "queue"]
    with pytest.raises(OperationFailed) as failed:
        declare_queues(config)

    started = "the broker ended the connection: 530 NOT_ALLOWED - "
    assert [(finding.topic, finding.ok) for finding in findings] == [("a", False), ("b", False)]
    assert all(finding.text.startswith(started) for finding in findings)
    assert str(failed.value).startswith(started)
    assert (published.exit_code, started in published.stderr) == (1, True)
    assert "s3cret" not in published.stderr + str(failed.value)


def test_an_argument_that_no_frame_holds_is_told_in_the_brokers_words(
    vhost_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERMES_BROKER_URL", vhost_url)
    with pytest.raises(OperationFailed, match=r"^the (broker ended the connection|connection to the broker failed): "):
        declare_queues(load(None, ["topics.a.handler=m:f", f"topics.a.queue_arguments.x-mine={'v' * 200_000}"]))


def test_asking_for_the_form_of_a_queue_creates_none(
    broker: LocalBroker, vhost: str, connection: BlockingConnection
) -> None:
    assert not has_single_active_consumer(connection, crawl(declare=False))
    assert arguments_of(broker, vhost) == {}


@pytest.mark.parametrize("own", [QUORUM, CLASSIC])
@pytest.mark.parametrize("topology", [crawl(is_existing=True), crawl(declare=False)])
def test_a_queue_that_this_user_may_not_read_is_refused_by_a_look_and_nothing_is_consumed(
    broker: LocalBroker, vhost: str, connection: BlockingConnection, own: dict[str, Any], topology: TopicTopology
) -> None:
    channel = connection.channel()
    for name, arguments in (("crawl", own), ("crawl.dead", QUORUM)):
        channel.queue_declare(name, durable=True, arguments=arguments)
    look_at(connection, topology)
    assert listed(broker, vhost, "list_consumers") == []
    ctl(broker, "set_permissions", "--vhost", vhost, "guest", ".*", ".*", "^$")
    with pytest.raises(UserMistake) as mistake:
        look_at(connection, topology)
    assert str(mistake.value) == (
        "this user may not consume the queue 'crawl' of topic 'crawl': grant the permission to read it"
    )


def test_what_the_broker_does_not_tell_for_want_of_permissions_refuses_nothing(
    broker: LocalBroker, vhost: str, connection: BlockingConnection
) -> None:
    connection.channel().queue_declare("crawl", durable=True, arguments=SINGLE)
    ctl(broker, "set_permissions", "--vhost", vhost, "guest", "^$", ".*", ".*")
    assert not has_single_active_consumer(connection, crawl(declare=False))
