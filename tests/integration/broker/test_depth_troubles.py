"""Depths whatever is missing, refused or hangs: the trouble of one topic costs no other, and none lasts for ever."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.connection import connect
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import ensure, queue_arguments
from tests.support.patience import deadline_s
from tests.support.probing import declare_wait, depth, missed_queues, oldest_s, probing, put_into
from tests.support.rabbitmqctl import ctl

CRAWL = TopicTopology(topic="crawl", queue="crawl.q", rungs_ms=(60_000, 84_853))
STORE = TopicTopology(topic="store", queue="store.q", queue_type="classic")
MANY = [TopicTopology(topic=f"t{n}", queue=f"t{n}.q", queue_type="classic") for n in range(300)]
FRESH_S = 3.0  # of a pass each 0.2 s, on a machine that has other things to do


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    give_up_s = deadline_s(timeout_s)
    while not condition():
        assert time.monotonic() < give_up_s, "not within the deadline"
        time.sleep(0.02)


def test_a_missing_queue_blinds_no_other_and_is_seen_as_soon_as_it_exists(
    vhost_url: str, connection: BlockingConnection, broker: LocalBroker, vhost: str
) -> None:
    ensure(connection, [STORE])

    with probing(vhost_url, replace(CRAWL, declare=False, rungs_ms=()), STORE) as prober:
        until(lambda: "crawl" in prober.failures and prober.failures["crawl"].count >= 3)
        first = prober.probes()["store"]
        until(lambda: prober.probes()["store"].at_s > first.at_s)
        assert prober.failures["crawl"].text.startswith("404 NOT_FOUND - no queue 'crawl.q'")
        assert set(prober.failures) == {"crawl"}
        assert prober.failure_count("crawl") >= 3
        assert "crawl" not in prober.probes()
        assert len(missed_queues(broker, vhost)) <= 6  # main and dead-letter queue; a pass takes 0.1 s

        ensure(connection, [CRAWL])
        until(lambda: depth(prober, "crawl") == (0, 0))
        assert prober.failures == {}


def test_a_queue_that_is_deleted_or_was_never_there_is_declared(vhost_url: str, connection: BlockingConnection) -> None:
    ensure(connection, [STORE])
    put_into(connection, "store.q", 2)

    with probing(vhost_url, STORE, CRAWL) as prober:
        until(lambda: depth(prober, "store") == (2, 0))
        until(lambda: depth(prober, "crawl") == (0, 0))
        connection.channel().queue_delete("store.q")
        until(lambda: depth(prober, "store") == (0, 0))
        put_into(connection, "store.q", 1)
        until(lambda: depth(prober, "store") == (1, 0))
        connection.channel().queue_declare("crawl.q", durable=True, arguments=queue_arguments("quorum"))


def test_a_passive_queue_that_goes_keeps_its_last_probe_whose_age_tells(
    vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, [STORE, CRAWL])
    put_into(connection, "store.q", 2)

    with probing(vhost_url, replace(STORE, declare=False), CRAWL) as prober:
        until(lambda: depth(prober, "store") == (2, 0))
        connection.channel().queue_delete("store.q")
        until(lambda: "store" in prober.failures)
        last = prober.probes()["store"]
        until(lambda: prober.failures["store"].count >= 3)
        assert prober.probes()["store"] == last
        assert prober.probes()["crawl"].at_s > last.at_s


def test_three_hundred_topics_stay_fresh_while_queues_vanish_and_come_back(
    vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, MANY)
    gone = {"t150", *(f"t{n}" for n in range(20, 50, 2))}

    def is_seen() -> bool:
        assert oldest_s(prober) < FRESH_S
        return set(prober.failures) == gone

    with probing(vhost_url, *(replace(topology, declare=False) for topology in MANY), interval_s=0.2) as prober:
        until(lambda: len(prober.probes()) == len(MANY))
        channel = connection.channel()
        for topic in gone:
            channel.queue_delete(f"{topic}.q")
        until(is_seen)
        until(lambda: is_seen() and all(prober.failures[topic].count >= 3 for topic in gone))
        ensure(connection, MANY)
        until(lambda: not prober.failures)
        assert oldest_s(prober) < FRESH_S


@pytest.mark.parametrize("channel_max", [1, 3])
def test_a_broker_that_allows_few_channels_is_probed_all_the_same(
    vhost_url: str, connection: BlockingConnection, channel_max: int
) -> None:
    ensure(connection, [*MANY[:100], CRAWL])
    missing = replace(STORE, declare=False)
    with probing(f"{vhost_url}?channel_max={channel_max}", *MANY[:50], missing, *MANY[50:100], CRAWL) as prober:
        until(lambda: len(prober.probes()) == 101 and set(prober.failures) == {"store"})
        ensure(connection, [STORE])
        until(lambda: not prober.failures)


def test_a_user_who_may_have_few_channels_gets_depths_after_some_tries(
    broker: LocalBroker, vhost: str, vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, MANY)
    user = f"few-channels-{vhost}"
    ctl(broker, "add_user", user, "narrow")
    ctl(broker, "set_permissions", "--vhost", vhost, user, ".*", ".*", ".*")
    ctl(broker, "set_user_limits", user, '{"max-channels": 2}')
    with probing(vhost_url.replace("guest:guest", f"{user}:narrow"), *MANY) as prober:
        until(lambda: len(prober.probes()) == len(MANY) and not prober.failures, timeout_s=30.0)


def test_a_queue_another_connection_has_for_itself_costs_its_topic_alone(
    vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, [CRAWL])
    owner = connect([vhost_url], name="test/owner")
    owner.channel().queue_declare("store.q", exclusive=True)
    with probing(vhost_url, STORE, CRAWL) as prober:
        until(lambda: "store" in prober.failures and prober.failures["store"].count >= 2)
        assert prober.failures["store"].text.startswith("405 RESOURCE_LOCKED")
        assert depth(prober, "crawl") == (0, 0)
        owner.close()
        until(lambda: depth(prober, "store") == (0, 0))


def test_a_queue_we_may_not_declare_says_so_and_is_seen_once_somebody_else_has(
    broker: LocalBroker, vhost: str, vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, [CRAWL])
    ctl(broker, "add_user", "reader", "reader")
    ctl(broker, "set_permissions", "--vhost", vhost, "reader", "^crawl", ".*", ".*")
    with probing(vhost_url.replace("guest:guest", "reader:reader"), STORE, CRAWL) as prober:
        until(lambda: "store" in prober.failures)
        assert prober.failures["store"].text == (
            "the broker refuses the queue 'store.q' of topic 'store': grant this user the permissions to configure, "
            "write and read it"
        )
        until(lambda: depth(prober, "crawl") == (0, 0))
        ensure(connection, [STORE])
        until(lambda: depth(prober, "store") == (0, 0) and not prober.failures)


def test_a_name_that_amqp_cannot_carry_costs_its_topic_alone(vhost_url: str, connection: BlockingConnection) -> None:
    ensure(connection, [CRAWL])
    with probing(vhost_url, TopicTopology(topic="long", queue="q" * 300), CRAWL) as prober:
        until(lambda: "long" in prober.failures and prober.failures["long"].count >= 2)
        assert depth(prober, "crawl") == (0, 0)


def in_queue_process(broker: LocalBroker, vhost: str, queue: str, call: str) -> None:
    """Call ``sys:suspend`` or ``sys:resume`` on the Erlang process of a queue."""
    name = f'rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)'
    ctl(broker, "eval", f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), {call}(amqqueue:get_pid(Q)).")


def test_a_queue_that_hangs_costs_its_topic_alone(
    broker: LocalBroker, vhost: str, vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, MANY)
    with probing(vhost_url, *MANY, interval_s=0.2) as prober:
        until(lambda: len(prober.probes()) == len(MANY))
        in_queue_process(broker, vhost, "t150.q", "sys:suspend")
        with suppress(AssertionError):  # what was behind it in its lane waits with it, once
            until(lambda: oldest_s(prober) > FRESH_S, timeout_s=4.0)
        try:
            until(lambda: set(prober.failures) == {"t150"} and prober.failures["t150"].count >= 2)
            assert prober.failures["t150"].text == "the broker has not answered for 2 s"
            until(lambda: oldest_s(prober) < FRESH_S)
            deadline_s = time.monotonic() + 5.0
            while time.monotonic() < deadline_s:
                assert oldest_s(prober) < FRESH_S
                time.sleep(0.02)
        finally:
            in_queue_process(broker, vhost, "t150.q", "sys:resume")
        until(lambda: not prober.failures, timeout_s=30.0)


BREAK = """
{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"t15.q">>)),
B = list_to_tuple([case X of rabbit_classic_queue -> rabbit_no_queue; _ -> X end || X <- tuple_to_list(Q)]),
code:ensure_loaded(rabbit_db_queue),
case erlang:function_exported(rabbit_db_queue, set, 1) of
    true -> rabbit_db_queue:set(B);
    false -> mnesia:dirty_write(rabbit_queue, B)
end.
"""


def test_a_queue_over_which_the_broker_ends_each_connection_costs_the_others_moments() -> None:
    few = MANY[:30]
    with LocalBroker() as node:
        setup = connect([node.url()], name="test/setup")
        ensure(setup, few)
        setup.close()
        with probing(node.url(), *few) as prober:
            until(lambda: len(prober.probes()) == len(few))
            ctl(node, "eval", BREAK)
            until(lambda: "t15" in prober.failures and prober.failures["t15"].count >= 4)
            assert "INTERNAL_ERROR" in prober.failures["t15"].text
            until(lambda: set(prober.failures) == {"t15"})
            assert oldest_s(prober) < FRESH_S


def test_an_alarm_that_blocks_publishers_does_not_stop_the_depths(
    broker: LocalBroker, vhost_url: str, connection: BlockingConnection
) -> None:
    ensure(connection, [STORE])
    with probing(vhost_url, STORE) as prober:
        until(lambda: depth(prober, "store") == (0, 0))
        ctl(broker, "set_vm_memory_high_watermark", "0.0001")
        try:
            now_s = time.time()
            until(lambda: prober.probes()["store"].at_s > now_s + 1.0)
            assert prober.failures == {}
        finally:
            ctl(broker, "set_vm_memory_high_watermark", "0.4")


def test_depths_come_back_after_the_broker_restarted_hung_or_closed_the_connection() -> None:
    with LocalBroker() as node:
        setup = connect([node.url()], name="test/setup")
        ensure(setup, [CRAWL, STORE])
        put_into(setup, "crawl.q", 4)
        put_into(setup, declare_wait(setup, CRAWL, 60_000), 1)
        setup.close()

        with probing(node.url(), CRAWL, STORE) as prober:
            prober.waits_exist("crawl", [60_000])
            until(lambda: depth(prober, "crawl") == (4, 1))
            ctl(node, "close_all_connections", "test")
            closed_s = time.time()
            until(lambda: prober.probes()["crawl"].at_s > closed_s + 0.5)

            assert node.pid is not None
            os.kill(node.pid, signal.SIGSTOP)
            try:
                until(lambda: bool(prober.failures))
            finally:
                os.kill(node.pid, signal.SIGCONT)
            until(lambda: not prober.failures, timeout_s=40.0)

            node.kill()
            until(lambda: "crawl" in prober.failures and "store" in prober.failures)
            assert depth(prober, "crawl") == (4, 1)
            lost = prober.probes()["crawl"]
            node.restart()
            until(lambda: prober.probes()["crawl"].at_s > lost.at_s and not prober.failures, timeout_s=40.0)
            again = connect([node.url()], name="test/again")
            put_into(again, "crawl.q", 2)
            again.close()
            # RabbitMQ 3.10 may bring a quorum queue back empty that was young when it was killed.
            until(lambda: depth(prober, "crawl") in ((6, 1), (6, 0), (2, 1), (2, 0)))


def test_probing_starts_before_the_broker_and_says_why_there_is_nothing_yet() -> None:
    with probing("amqp://guest:s3cret@127.0.0.1:1/", CRAWL) as prober:
        until(lambda: "crawl" in prober.failures and prober.failures["crawl"].count >= 2)
        assert "Connection refused" in prober.failures["crawl"].text
        assert "s3cret" not in prober.failures["crawl"].text
        assert prober.probes() == {}
