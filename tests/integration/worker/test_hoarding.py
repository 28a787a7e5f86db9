"""A worker holds no more than it handles soon: the rest is for others."""

from __future__ import annotations

import random
import threading
import time

from hermes_ray import Message
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.topology import queue_arguments
from tests.support.deliveries import raw_of
from tests.support.ledger import channel_to, declare, publish, ready_count, until
from tests.support.rabbitmqctl import ctl
from tests.support.raw_client import put_raw
from tests.support.workers import working


def test_after_a_slow_down_what_no_handler_has_seen_goes_back_to_the_queue(
    vhost_url: str, gate: threading.Event
) -> None:
    is_slow = threading.Event()

    def handle(_message: Message) -> None:
        if is_slow.is_set():
            gate.wait(60)

    declare(vhost_url, "q", queue_arguments("quorum"))
    with working(vhost_url, handle, concurrency=4) as worker:
        publish(vhost_url, 20_000)
        until(lambda: worker["prefetch"] == 500, "fast messages are held by the hundred", 60)
        until(lambda: worker["acked"] == 20_000, "all are handled", 60)
        is_slow.set()
        publish(vhost_url, 600)
        until(lambda: worker["prefetch"] <= 8 and worker["held"] <= 8, "it holds what it handles", 60)
        until(lambda: ready_count(vhost_url) >= 590, "the others are in the queue")
        gate.set()
        until(lambda: worker["acked"] == 20_600, "none is lost", 60)
        assert worker["reconnects"] == 0


def test_large_messages_are_held_up_to_a_number_of_bytes(vhost_url: str, gate: threading.Event) -> None:
    declare(vhost_url, "q", queue_arguments("classic"))
    put_raw(vhost_url, *[(b"x" * 1_000_000, raw_of(message_id=str(n))) for n in range(60)])
    with working(
        vhost_url,
        lambda _message: gate.wait(60),
        queue_type="classic",
        concurrency=4,
        prefetch=50,
        prefetch_bytes=10**7,
    ) as worker:
        until(lambda: worker["running"] == 4 and worker["held"] <= 4 + 10, "10 MB are held beside those in handlers")
        until(lambda: ready_count(vhost_url) == 60 - worker["held"], "the others are in the queue")
        with channel_to(vhost_url) as channel:
            assert channel.queue_declare("q", passive=True).method.consumer_count == 1
        gate.set()
        until(lambda: worker["acked"] == 60, "all are handled", 60)
        assert worker["reconnects"] == 0


def test_after_one_large_message_the_slots_are_in_use_again_soon(vhost_url: str) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def handle(_message: Message) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1

    declare(vhost_url, "q", queue_arguments("classic"))
    put_raw(vhost_url, (b"x" * 3_000_000, raw_of(message_id="large")))
    with working(vhost_url, handle, queue_type="classic", concurrency=8, prefetch_bytes=1_000_000) as worker:
        until(lambda: worker["prefetch"] == 1, "one such message is held at a time")
        most = 0
        publish(vhost_url, 1500)
        until(lambda: most == 8, "all slots are in use, 15 s before prefetches are raised")
        assert worker["acked"] < 1000


def test_one_message_beyond_the_bytes_is_handled_all_the_same(vhost_url: str) -> None:
    declare(vhost_url, "q", queue_arguments("classic"))
    put_raw(vhost_url, *[(b"x" * 3_000_000, raw_of(message_id=str(n))) for n in range(5)])
    with working(
        vhost_url, lambda _message: None, queue_type="classic", concurrency=4, prefetch=4, prefetch_bytes=1_000_000
    ) as worker:
        until(lambda: worker["acked"] == 5, "one after the other")


def test_what_the_broker_has_requeued_is_not_run_from_the_buffer(
    vhost_url: str, vhost: str, broker: LocalBroker, gate: threading.Event
) -> None:
    seen: list[str | None] = []

    def handle(message: Message) -> None:
        seen.append(message.id)
        gate.wait(60)

    with working(vhost_url, handle, concurrency=2, prefetch=50) as worker:
        ids = publish(vhost_url, 40)
        until(lambda: worker["running"] == 2 and worker["held"] == 40, "the rest is buffered")
        ctl(broker, "close_all_connections", "--vhost", vhost, "a test")
        until(lambda: worker["reconnects"] == 1 and worker["held"] == 40, "they are delivered again")
        gate.set()
        until(lambda: worker["acked"] == 40, "all are handled")
        until(lambda: worker["stale"] >= 2, "those that ran when the connection was lost are told")
        assert worker["stale"] == 2, "and no other"
    assert len(seen) == 42
    assert set(seen) == set(ids)


def test_two_changes_of_the_prefetch_at_once_leave_one_consumer(vhost_url: str) -> None:
    with working(vhost_url, lambda _message: None, concurrency=2, prefetch=50) as worker:
        publish(vhost_url, 10)
        until(lambda: worker["acked"] == 10, "it consumes")
        consumer = worker.worker._consumer
        for prefetch in (5, 40, 7):
            consumer.set_prefetch(prefetch)
        until(lambda: worker["prefetch"] == 7, "the last one counts")
        publish(vhost_url, 10)
        until(lambda: worker["acked"] == 20, "it consumes")
        with channel_to(vhost_url) as channel:
            assert channel.queue_declare("q", passive=True).method.consumer_count == 1


def test_a_worker_whose_messages_get_stuck_one_by_one_holds_no_more_of_the_others_for_it(vhost_url: str) -> None:
    """Its consumer is renewed for each: none of them may bring more than there is room for."""
    pause = threading.Event()

    def fail(message: Message) -> None:
        pause.wait(random.uniform(1, 3))
        raise RuntimeError("the database is away")

    declare(vhost_url, "q", queue_arguments("classic"))
    declare(vhost_url, "q.dead", {**queue_arguments("classic"), "x-max-length": 1, "x-overflow": "reject-publish"})
    publish(vhost_url, 1, queue="q.dead")
    publish(vhost_url, 600)
    settings = {"max_attempts": 1, "concurrency": 16, "queue_type": "classic", "declare": False}
    with working(vhost_url, fail, **settings) as worker:
        settler, most = worker.worker._consumer._settler, 0
        while worker["unmovable"] < 60:
            most = max(most, settler.in_slots_count)
            pause.wait(0.05)
        assert most <= 3 * 16, "the prefetch, and what the next consumer brings"
