"""Depths as the broker tells them: main, wait and dead-letter queues, each looked at when somebody needs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray import Message
from hermes_ray.broker.declares import Ask
from hermes_ray.broker.depth import DepthProber
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topic_depth import TopicDepth
from hermes_ray.broker.topology import ensure
from hermes_ray.core.model import Probe
from tests.support.ledger import publish, queue_exists
from tests.support.patience import deadline_s
from tests.support.probing import dead_count, declare_wait, depth, missed_queues, probing, put_into
from tests.support.workers import Working, working

CRAWL = TopicTopology(topic="crawl", queue="crawl.q", rungs_ms=(60_000, 84_853))
STORE = TopicTopology(topic="store", queue="store.q", queue_type="classic")
TURNS_S = 10.0


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    give_up_s = deadline_s(timeout_s)
    while not condition():
        assert time.monotonic() < give_up_s, "not within the deadline"
        time.sleep(0.02)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int | None]]:
    """What the broker refused, as it came: its log may lack a line."""
    seen: list[tuple[str, int | None]] = []
    take = TopicDepth.refused

    def note(depth: TopicDepth, ask: Ask, code: int | None, text: str, now_s: float) -> Ask | None:
        seen.append((ask.queue, code))
        return take(depth, ask, code, text, now_s)

    monkeypatch.setattr(TopicDepth, "refused", note)
    return seen


def passes(prober: DepthProber, topic: str, count: int) -> None:
    """Wait for so many more probes of ``topic``."""
    seen = {prober.probes()[topic].at_s}

    def look() -> bool:
        seen.add(prober.probes()[topic].at_s)
        return len(seen) > count

    until(look)


def test_all_topics_are_probed_with_their_own_counts(vhost_url: str, connection: BlockingConnection) -> None:
    ensure(connection, [CRAWL, STORE])
    put_into(connection, "crawl.q", 3)
    put_into(connection, "store.q", 5)

    with probing(vhost_url, CRAWL, STORE) as prober:
        until(lambda: (depth(prober, "crawl"), depth(prober, "store")) == ((3, 0), (5, 0)))
        put_into(connection, "crawl.q", 1)
        until(lambda: depth(prober, "crawl") == (4, 0))
        assert prober.failures == {}


def test_a_probe_carries_the_time_of_the_clock_it_was_given(vhost_url: str, connection: BlockingConnection) -> None:
    ensure(connection, [STORE])
    prober = DepthProber([vhost_url], [STORE], name="test/clock", interval_s=0.1, clock=lambda: 1234.5)
    prober.start()
    until(lambda: "store" in prober.probes())
    prober.stop()
    assert prober.probes() == {"store": Probe(at_s=1234.5, ready_count=0, dead_count=0)}


def test_what_a_reader_has_in_hand_does_not_change(vhost_url: str, connection: BlockingConnection) -> None:
    ensure(connection, [STORE])
    with probing(vhost_url, STORE) as prober:
        until(lambda: "store" in prober.probes())
        in_hand = prober.probes()
        before = dict(in_hand)
        passes(prober, "store", 2)
        assert in_hand == before


def test_dead_letters_are_counted_within_ten_seconds(vhost_url: str, connection: BlockingConnection) -> None:
    ensure(connection, [STORE])
    with probing(vhost_url, STORE) as prober:
        until(lambda: dead_count(prober, "store") == 0)
        put_into(connection, "store.q.dead", 3)
        until(lambda: dead_count(prober, "store") == 3, TURNS_S)


def test_a_wait_queue_is_counted_once_somebody_said_that_it_exists(
    vhost_url: str, connection: BlockingConnection, broker: LocalBroker, vhost: str
) -> None:
    ensure(connection, [CRAWL])
    with probing(vhost_url, CRAWL) as prober:
        until(lambda: depth(prober, "crawl") == (0, 0))
        for delay_ms, count in ((60_000, 2), (84_853, 3)):
            put_into(connection, declare_wait(connection, CRAWL, delay_ms), count)
        passes(prober, "crawl", 5)
        assert depth(prober, "crawl") == (0, 0)

        prober.waits_exist("crawl", [60_000, 84_853])
        until(lambda: depth(prober, "crawl") == (0, 5), timeout_s=3.0)
        assert prober.known_waits() == {"crawl": (60_000, 84_853)}
    assert missed_queues(broker, vhost) == []


def test_an_empty_wait_queue_is_looked_at_within_ten_seconds_and_at_once_after_a_retry(
    vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, [CRAWL, STORE])
    queue, other = declare_wait(connection, CRAWL, 60_000), declare_wait(connection, STORE, 60_000)
    with probing(vhost_url, CRAWL, STORE, interval_s=0.2) as prober:
        prober.waits_exist("crawl", [60_000])
        prober.waits_exist("store", [60_000])
        until(lambda: len(prober.probes()) == 2)
        passes(prober, "crawl", 3)  # the queues have been looked at
        put_into(connection, queue, 1)
        put_into(connection, other, 1)
        prober.retried("store")
        until(lambda: depth(prober, "store") == (0, 1), timeout_s=2.0)
        until(lambda: depth(prober, "crawl") == (0, 1), TURNS_S)


def test_the_wait_queues_of_a_topology_that_declares_nothing_are_known_from_the_start(
    vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, [CRAWL])
    for delay_ms in CRAWL.rungs_ms:
        put_into(connection, declare_wait(connection, CRAWL, delay_ms), 1)
    with probing(vhost_url, replace(CRAWL, declare=False)) as prober:
        until(lambda: depth(prober, "crawl") == (0, 2))
        assert prober.known_waits() == {"crawl": CRAWL.rungs_ms}


def test_a_wait_queue_that_vanished_is_looked_for_once_and_forgotten_though_it_is_said_again(
    vhost_url: str, connection: BlockingConnection, refused: list[tuple[str, int | None]]
) -> None:
    ensure(connection, [CRAWL])
    for delay_ms in CRAWL.rungs_ms:
        put_into(connection, declare_wait(connection, CRAWL, delay_ms), 1)
    with probing(vhost_url, CRAWL) as prober:
        prober.waits_exist("crawl", CRAWL.rungs_ms)
        until(lambda: depth(prober, "crawl") == (0, 2))
        connection.channel().queue_delete("crawl.q.wait.60000")
        until(lambda: depth(prober, "crawl") == (0, 1))
        for _ in range(5):
            prober.waits_exist("crawl", CRAWL.rungs_ms)
            prober.waits_exist("crawl", [60_000])
            prober.retried("crawl")
            passes(prober, "crawl", 1)
        assert prober.known_waits() == {"crawl": (84_853,)}
        assert prober.failures == {}
    assert refused == [("crawl.q.wait.60000", 404)]


def test_what_was_said_is_known_before_the_broker_is_there() -> None:
    prober = DepthProber(["amqp://guest:guest@127.0.0.1:1/"], [CRAWL], name="test/early")
    prober.waits_exist("crawl", [84_853, 60_000])
    prober.waits_exist("of another deployment", [1])
    assert prober.known_waits() == {"crawl": (60_000, 84_853)}


def test_a_dead_letter_queue_that_was_deleted_is_declared_again(vhost_url: str, connection: BlockingConnection) -> None:
    ensure(connection, [STORE])
    put_into(connection, "store.q.dead", 2)
    with probing(vhost_url, STORE) as prober:
        until(lambda: dead_count(prober, "store") == 2)
        connection.channel().queue_delete("store.q.dead")
        until(lambda: dead_count(prober, "store") == 0, TURNS_S)
        assert queue_exists(vhost_url, "store.q.dead")


def test_a_dead_letter_queue_we_must_not_declare_is_looked_for_once_and_unknown(
    vhost_url: str, connection: BlockingConnection, refused: list[tuple[str, int | None]]
) -> None:
    ensure(connection, [STORE])
    connection.channel().queue_delete("store.q.dead")
    with probing(vhost_url, replace(STORE, declare=False)) as prober:
        until(lambda: "store" in prober.probes())
        passes(prober, "store", 20)
        assert dead_count(prober, "store") is None
        assert prober.failures == {}
    assert refused == [("store.q.dead", 404)]


def test_messages_that_fail_and_come_back_leave_no_line_in_the_log_and_are_counted_where_they_wait(
    vhost_url: str, connection: BlockingConnection, broker: LocalBroker, vhost: str
) -> None:
    def fail(_message: Message) -> None:
        raise RuntimeError("the database is away")

    topology = TopicTopology(topic="t", queue="q", rungs_ms=(300, 424, 600))
    ensure(connection, [topology])
    seen: set[tuple[int, int] | None] = set()

    def tick(prober: DepthProber, worker: Working) -> bool:
        """What the scaler does with each report; True once every message is dead."""
        prober.waits_exist("t", worker["wait_rungs_ms"])
        prober.retried("t")
        seen.add(depth(prober, "t"))
        return worker["dead_lettered_attempts"] == 20

    with (
        working(vhost_url, fail, max_attempts=3, rungs_ms=topology.rungs_ms) as worker,
        probing(vhost_url, topology) as prober,
    ):
        publish(vhost_url, 20)
        until(lambda: tick(prober, worker))
        assert set(worker["wait_rungs_ms"]) <= set(topology.rungs_ms)
        assert prober.known_waits() == {"t": tuple(sorted(worker["wait_rungs_ms"]))}
        until(lambda: dead_count(prober, "t") == 20, TURNS_S)
    assert any(found and found[1] > 0 for found in seen)
    assert missed_queues(broker, vhost) == []
