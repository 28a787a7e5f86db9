"""Consuming from a real broker through everything a broker does to its consumers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

import pytest

from hermes_ray import Message
from hermes_ray.broker.private.local import LocalBroker
from tests.support.ledger import Ledger, channel_to, publish, queue_exists, ready_count, until
from tests.support.rabbitmqctl import ctl, remember_queues
from tests.support.workers import Gate, Working, working


@pytest.fixture
def unacked(broker: LocalBroker, vhost: str) -> Callable[[], int]:
    """What the broker holds for consumers of the classic queue ``q``, as it says itself."""
    listing = ("list_queues", "--vhost", vhost, "--no-table-headers", "messages_unacknowledged")
    return lambda: int(ctl(broker, *listing))


@pytest.fixture
def cut(broker: LocalBroker, vhost: str) -> Callable[[], str]:
    """Closes all connections of this test, as an operator would."""
    return lambda: ctl(broker, "close_all_connections", "--vhost", vhost, "a test")


def test_an_older_message_that_runs_on_holds_back_no_ack(
    vhost_url: str, ledger: Ledger, unacked: Callable[[], int]
) -> None:
    gate = Gate(ledger)
    with working(vhost_url, gate.handle, queue_type="classic", concurrency=2, prefetch=50) as worker:
        publish(vhost_url, 1, body=b"held")
        publish(vhost_url, 300)
        until(lambda: len(ledger.handled()) == 300 and worker["acked"] == 300, "the later ones are handled")
        until(lambda: unacked() == 1, "their acks reach the broker")
        assert worker["running"] == 1

        gate.open()
        until(lambda: unacked() == 0, "the older one is acked")


def test_an_ack_leaves_within_milliseconds_of_settling(vhost_url: str, ledger: Ledger) -> None:
    # One delivery at a time: the next handler starts only when the ack of the last has been to the broker and back.
    with working(vhost_url, ledger.note, queue_type="classic", concurrency=8, prefetch=1):
        started_s = time.monotonic()
        publish(vhost_url, 300)
        until(lambda: len(ledger.handled()) == 300, "one after the other")
        assert (time.monotonic() - started_s) / 300 < 0.03


def test_a_cut_connection_brings_back_exactly_the_messages_that_ran(
    vhost_url: str, ledger: Ledger, cut: Callable[[], str]
) -> None:
    gate = Gate(ledger)
    with working(vhost_url, gate.handle, concurrency=4, prefetch=50) as worker:
        held = [publish(vhost_url, 1, body=b"held")[0]]
        publish(vhost_url, 60)
        held += publish(vhost_url, 1, body=b"held")
        publish(vhost_url, 60)
        until(lambda: worker["acked"] == 120, "all others are acked")

        cut()
        until(lambda: len(gate.entered) == 124, "the held ones run again")
        gate.open()
        until(lambda: worker["acked"] == 122 and worker["held"] == 0, "all is settled")
        assert ledger.attempts() == {1}
        assert {id for id, count in ledger.handled().items() if count > 1} == set(held)
    assert ready_count(vhost_url) == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_finishing_a_message_of_a_dead_channel_acks_nothing_on_the_new_one(
    vhost_url: str, ledger: Ledger, cut: Callable[[], str], unacked: Callable[[], int], kind: str
) -> None:
    first, second = Gate(ledger), Gate(ledger)

    def gate_of_run() -> Gate:
        return second if first.entered else first

    async def handle_async(message: Message) -> None:
        await gate_of_run().handle_async(message)

    handle = handle_async if kind == "async" else lambda message: gate_of_run().handle(message)
    with working(vhost_url, handle, queue_type="classic", concurrency=4) as worker:
        publish(vhost_url, 1, body=b"held")
        until(lambda: first.entered, "it runs")
        cut()
        until(lambda: second.entered, "it runs again, with the same tag on a new channel")

        first.open()
        until(lambda: len(ledger.handled()) == 1 and worker["running"] == 1, "the first run ends")
        assert unacked() == 1
        assert worker["acked"] == 0

        second.open()
        until(lambda: unacked() == 0, "the second run is acked")
        assert worker["acked"] == 1


def test_nothing_is_lost_while_connections_are_cut_again_and_again(
    vhost_url: str, ledger: Ledger, cut: Callable[[], str]
) -> None:
    def handle(message: Message) -> None:
        time.sleep(0.002)
        ledger.note(message)

    def is_back(worker: Working, cuts: int) -> bool:
        return worker["reconnects"] >= cuts and worker["phase"] == "consuming"

    with working(vhost_url, handle, concurrency=4, prefetch=100) as worker:
        ids = publish(vhost_url, 3000)
        for cuts in (1, 2, 3):
            cut()
            until(partial(is_back, worker, cuts), "it is back")
        until(lambda: set(ledger.handled()) == set(ids), "every message is handled")
        assert ledger.attempts() == {1}
        until(lambda: worker["held"] == 0, "all is settled")
        assert worker["lost_reason"] is None
    assert ready_count(vhost_url) == 0


def test_a_killed_broker_is_tried_with_growing_pauses_until_it_is_back(ledger: Ledger) -> None:
    def handle(message: Message) -> None:
        time.sleep(0.005)
        ledger.note(message)

    # A quorum queue declared less than about 3 s before the node is killed comes back empty.
    settings = {"queue_type": "classic", "concurrency": 2, "prefetch": 50}
    with LocalBroker() as own, working(own.url(), handle, **settings) as worker:
        remember_queues(own)
        ids = publish(own.url(), 600)
        until(lambda: len(ledger.handled()) > 50, "it is at work")
        own.kill()
        until(lambda: worker["reconnects"] >= 3, "it tries again")
        assert worker["phase"] == "connecting"
        assert worker["lost_reason"]
        own.restart()
        until(lambda: set(ledger.handled()) == set(ids), "every message is handled", 40)
        assert worker["reconnects"] < 20
        assert ledger.attempts() == {1}
        until(lambda: worker["held"] == 0, "all is settled")


def test_a_queue_deleted_under_the_worker_is_declared_again_and_consumed(vhost_url: str, ledger: Ledger) -> None:
    with working(vhost_url, ledger.note) as worker:
        publish(vhost_url, 1)
        with channel_to(vhost_url) as channel:
            channel.queue_delete("q")
        until(lambda: worker["reconnects"] == 1 and worker["phase"] == "consuming", "it consumes again")
        publish(vhost_url, 5)
        until(lambda: len(ledger.handled()) == 6, "the new queue's messages are handled")


def test_without_a_queue_of_its_own_to_declare_a_worker_waits_until_there_is_one(
    vhost_url: str, ledger: Ledger
) -> None:
    def create() -> None:
        with channel_to(vhost_url) as channel:
            channel.queue_declare("q", durable=True, arguments={"x-queue-type": "classic"})

    create()
    with working(vhost_url, ledger.note, declare=False) as worker:
        with channel_to(vhost_url) as channel:
            channel.queue_delete("q")
        until(lambda: worker["reconnects"] >= 3, "it tries again")
        assert "404" in worker["lost_reason"]
        assert not queue_exists(vhost_url, "q")
        create()
        publish(vhost_url, 5)
        until(lambda: len(ledger.handled()) == 5, "its messages are handled")


def test_a_worker_holds_no_more_than_its_prefetch(vhost_url: str, ledger: Ledger) -> None:
    gate = Gate(ledger)
    with working(vhost_url, gate.handle, concurrency=2, prefetch=7) as worker:
        publish(vhost_url, 50, body=b"held")
        until(lambda: worker["held"] == 7, "it holds its prefetch")
        until(lambda: ready_count(vhost_url) == 43, "the broker keeps the rest")
        assert len(gate.entered) == 2
        gate.open()
        until(lambda: len(ledger.handled()) == 50, "all are handled")


def test_short_handlers_get_hundreds_in_advance_without_losing_or_repeating_any(vhost_url: str, ledger: Ledger) -> None:
    with working(vhost_url, ledger.note, concurrency=4) as worker:
        assert worker["prefetch"] == 4
        ids = publish(vhost_url, 300)
        until(lambda: worker["prefetch"] >= 200, "the prefetch grows")
        ids += publish(vhost_url, 3000)
        until(lambda: len(ledger.handled()) == 3300 and worker["held"] == 0, "all are handled")
        assert ledger.handled() == dict.fromkeys(ids, 1)
        assert worker["reconnects"] == 0


def test_a_prefetch_replaced_under_load_loses_and_repeats_nothing(vhost_url: str, ledger: Ledger) -> None:
    def handle(message: Message) -> None:
        time.sleep(0.001)
        ledger.note(message)

    def goes_on(seen: int) -> bool:
        return len(ledger.handled()) > seen

    with working(vhost_url, handle, concurrency=4, prefetch=10) as worker:
        ids = publish(vhost_url, 2000)
        for prefetch in (200, 4, 100, 1, 10) * 4:
            worker.worker._consumer.set_prefetch(prefetch)
            until(partial(goes_on, len(ledger.handled())), "it goes on")
        until(lambda: len(ledger.handled()) == 2000 and worker["held"] == 0, "all are handled")
        assert ledger.handled() == dict.fromkeys(ids, 1)
        until(lambda: worker["prefetch"] == 10, "the last one counts, which is what the worker itself wants")


def test_long_handlers_get_one_message_per_slot(vhost_url: str, ledger: Ledger) -> None:
    def handle(message: Message) -> None:
        time.sleep(0.5)
        ledger.note(message)

    with working(vhost_url, handle, concurrency=12) as worker:
        publish(vhost_url, 48)
        until(lambda: worker["finished"] >= 24, "enough have been timed")
        seq = worker.diary.last["seq"]
        until(lambda: worker.diary.last["seq"] > seq + 4, "a few more reports")
        assert worker["prefetch"] == 12
        until(lambda: len(ledger.handled()) == 48, "all are handled")


def test_the_brokers_connection_list_names_deployment_topic_and_worker(
    broker: LocalBroker, vhost_url: str, ledger: Ledger
) -> None:
    def handle(message: Message) -> None:
        ledger.note(message)
        if message.body == b"parent":
            message.publish("t", b"child")

    settings = {"deployment": "blue", "worker": "t/0123abcd"}
    with working(vhost_url, handle, **settings):
        publish(vhost_url, 1, body=b"parent")
        until(lambda: len(ledger.handled()) == 2, "it has published too")
        rows = json.loads(ctl(broker, "list_connections", "--formatter", "json", "client_properties"))
        names = {value for row in rows for key, _, value in row["client_properties"] if key == "connection_name"}
        assert {"blue/t/0123abcd", "blue/t/0123abcd/publish"} <= names
