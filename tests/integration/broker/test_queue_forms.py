"""Queues that cannot work, or serve one consumer, are seen whatever the broker has room to tell."""

from __future__ import annotations

import re
from typing import Any

import pytest
from click.testing import CliRunner
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.connection import connect
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_form import has_single_active_consumer, look_at
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import ensure
from hermes_ray.cli.check import _queues
from hermes_ray.cli.main import cli
from hermes_ray.config.loading import load
from hermes_ray.deploy.queues import declare_queues
from hermes_ray.errors import OperationFailed, UserMistake
from tests.support.own_queues import CLASSIC, QUORUM, SINGLE, arguments_of, crawl, listed, refused
from tests.support.rabbitmqctl import ctl

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
