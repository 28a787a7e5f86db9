"""Depths as the broker tells them, whatever is missing and whatever the broker suffers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.connection import connect
from hermes_ray.broker.depth import DepthProber
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.topology import TopicTopology, ensure, wait_arguments, wait_queue
from hermes_ray.core.model import Probe

CRAWL = TopicTopology(topic="crawl", queue="crawl.q", rungs_ms=(60_000, 84_853))
STORE = TopicTopology(topic="store", queue="store.q", queue_type="classic")


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "not within the deadline"
        time.sleep(0.02)


def publish(connection: BlockingConnection, queue: str, count: int) -> None:
    channel = connection.channel()
    channel.confirm_delivery()
    for _ in range(count):
        channel.basic_publish("", queue, b"x", BasicProperties(delivery_mode=2), mandatory=True)
    channel.close()


def depth(prober: DepthProber, topic: str) -> tuple[int, int] | None:
    probe = prober.probes().get(topic)
    return None if probe is None else (probe.ready_count, probe.retrying_count)


@contextmanager
def probing(url: str, *topologies: TopicTopology) -> Iterator[DepthProber]:
    prober = DepthProber([url], topologies, name="test/scaler/depth", interval_s=0.1)
    prober.start()
    try:
        yield prober
    finally:
        prober.stop()


@pytest.fixture
def connection(vhost_url: str) -> Iterator[BlockingConnection]:
    connection = connect([vhost_url], name="test/depth")
    yield connection
    connection.close()


def test_all_topics_are_probed_with_their_own_counts(vhost_url: str, connection: BlockingConnection) -> None:
    ensure(connection, [CRAWL, STORE])
    publish(connection, "crawl.q", 3)
    publish(connection, "store.q", 5)

    with probing(vhost_url, CRAWL, STORE) as prober:
        until(lambda: (depth(prober, "crawl"), depth(prober, "store")) == ((3, 0), (5, 0)))
        publish(connection, "crawl.q", 1)
        until(lambda: depth(prober, "crawl") == (4, 0))
        assert prober.failures == {}


def test_a_probe_carries_the_time_of_the_clock_it_was_given(vhost_url: str, connection: BlockingConnection) -> None:
    ensure(connection, [STORE])
    prober = DepthProber([vhost_url], [STORE], name="test/clock", interval_s=0.1, clock=lambda: 1234.5)
    prober.start()
    until(lambda: "store" in prober.probes())
    prober.stop()
    assert prober.probes() == {"store": Probe(at_s=1234.5, ready_count=0)}


def test_a_missing_queue_blinds_no_other_and_is_seen_as_soon_as_it_exists(
    vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, [STORE])

    with probing(vhost_url, CRAWL, STORE) as prober:
        until(lambda: "crawl" in prober.failures and prober.failures["crawl"].count >= 3)
        first = prober.probes()["store"]
        until(lambda: prober.probes()["store"].at_s > first.at_s)
        assert prober.failures["crawl"].text.startswith("404 NOT_FOUND - no queue 'crawl.q'")
        assert set(prober.failures) == {"crawl"}
        assert "crawl" not in prober.probes()

        ensure(connection, [CRAWL])
        until(lambda: depth(prober, "crawl") == (0, 0))
        assert prober.failures == {}


def test_a_queue_deleted_while_nobody_consumes_is_declared_again(
    vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, [STORE])
    publish(connection, "store.q", 2)

    with probing(vhost_url, STORE) as prober:
        until(lambda: depth(prober, "store") == (2, 0))
        connection.channel().queue_delete("store.q")
        until(lambda: depth(prober, "store") == (0, 0))
        publish(connection, "store.q", 1)
        until(lambda: depth(prober, "store") == (1, 0))


def test_a_passive_queue_that_goes_keeps_its_last_probe_whose_age_tells(
    vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, [STORE, CRAWL])
    publish(connection, "store.q", 2)

    with probing(vhost_url, replace(STORE, declare=False), CRAWL) as prober:
        until(lambda: depth(prober, "store") == (2, 0))
        connection.channel().queue_delete("store.q")
        until(lambda: "store" in prober.failures)
        last = prober.probes()["store"]
        until(lambda: prober.failures["store"].count >= 3)
        assert prober.probes()["store"] == last
        assert prober.probes()["crawl"].at_s > last.at_s


def test_messages_in_wait_queues_are_counted_apart_once_a_retry_was_reported(
    vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, [CRAWL])

    with probing(vhost_url, CRAWL) as prober:
        until(lambda: depth(prober, "crawl") == (0, 0))
        for delay_ms, count in ((60_000, 2), (84_853, 3)):
            queue = wait_queue("crawl.q", delay_ms)
            arguments = wait_arguments("crawl.q", "quorum", delay_ms)
            connection.channel().queue_declare(queue, durable=True, arguments=arguments)
            publish(connection, queue, count)
        prober.look_again("crawl")
        until(lambda: depth(prober, "crawl") == (0, 5), timeout_s=3.0)


def test_wait_queues_are_found_without_a_hint_too(vhost_url: str, connection: BlockingConnection) -> None:
    ensure(connection, [CRAWL])

    with probing(vhost_url, CRAWL) as prober:
        until(lambda: depth(prober, "crawl") == (0, 0))
        queue = wait_queue("crawl.q", 60_000)
        connection.channel().queue_declare(queue, durable=True, arguments=wait_arguments("crawl.q", "quorum", 60_000))
        publish(connection, queue, 2)
        until(lambda: depth(prober, "crawl") == (0, 2), timeout_s=12.0)


def test_missing_wait_queues_cost_a_channel_once_in_ten_seconds_not_each_pass(
    vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, [CRAWL])
    many = TopicTopology(topic="crawl", queue="crawl.q", rungs_ms=tuple(range(1000, 1200)))

    with probing(vhost_url, many) as prober:
        until(lambda: "crawl" in prober.probes())
        first = prober.probes()["crawl"]
        until(lambda: prober.probes()["crawl"].at_s > first.at_s + 1.0)
        seen = {prober.probes()["crawl"].at_s}
        deadline_s = time.monotonic() + 2.0
        while time.monotonic() < deadline_s:
            seen.add(prober.probes()["crawl"].at_s)
            time.sleep(0.01)
    assert len(seen) >= 10  # 200 reopened channels in a pass would not leave room for half of these


def test_depths_come_back_after_the_broker_restarted_and_after_it_closed_the_connection() -> None:
    with LocalBroker() as node:
        setup = connect([node.url()], name="test/setup")
        ensure(setup, [CRAWL, STORE])
        publish(setup, "crawl.q", 4)
        setup.close()

        with probing(node.url(), CRAWL, STORE) as prober:
            until(lambda: depth(prober, "crawl") == (4, 0))
            before = prober.probes()["crawl"]
            node.ctl("close_all_connections", "test")
            until(lambda: prober.probes()["crawl"].at_s > before.at_s + 0.5)

            node.kill()
            until(lambda: "crawl" in prober.failures and "store" in prober.failures)
            assert depth(prober, "crawl") == (4, 0)
            lost = prober.probes()["crawl"]
            node.restart()
            until(lambda: prober.probes()["crawl"].at_s > lost.at_s and not prober.failures, timeout_s=40.0)
            again = connect([node.url()], name="test/again")
            publish(again, "crawl.q", 2)
            again.close()
            # RabbitMQ 3.10 may bring a quorum queue back empty that was young when it was killed.
            until(lambda: depth(prober, "crawl") in ((6, 0), (2, 0)))


def test_probing_starts_before_the_broker_and_says_why_there_is_nothing_yet() -> None:
    with probing("amqp://guest:s3cret@127.0.0.1:1/", CRAWL) as prober:
        until(lambda: "crawl" in prober.failures and prober.failures["crawl"].count >= 2)
        assert "Connection refused" in prober.failures["crawl"].text
        assert "s3cret" not in prober.failures["crawl"].text
        assert prober.probes() == {}
