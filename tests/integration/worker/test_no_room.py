"""Retries, dead letters and publishes that find no place: they are said, lose nothing, and are in nobody's way."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from hermes_ray import Message
from hermes_ray.broker import delivery_watch, publish_turns, publisher, subscription
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.broker.topology import main_arguments, queue_arguments
from tests.support.account import Account
from tests.support.deliveries import raw_of
from tests.support.ledger import channel_to, declare, publish, ready_count, until
from tests.support.rabbitmqctl import ctl
from tests.support.raw_client import put_raw
from tests.support.workers import Working, working

GOOD = [(b"good", raw_of(message_id=f"good {n}")) for n in range(20)]
BAD = [(b"bad", raw_of(message_id=f"bad {n}")) for n in range(12)]
TO_NOBODY = "amq.rabbitmq.reply-to.g2gCZAANcmFiYml0QGxvY2FsAAA=.x"  # over which RabbitMQ 3.10 ends the connection


def fails_bad(message: Message) -> None:
    if message.body != b"good":
        raise RuntimeError("the database is away")


def others_are_handled(worker: Working, words: str) -> None:
    until(lambda: worker["acked"] == len(GOOD), "the others are handled", 60)
    until(lambda: worker["unmovable"] == len(BAD), "those that wait are counted", 60)
    assert words in (worker.worker.state().unmovable_reason or "")


def test_retries_whose_queue_this_user_may_not_declare_are_in_nobodys_way(vhost_url: str, account: Account) -> None:
    for name in ("q", "q.dead"):
        declare(vhost_url, name, queue_arguments("quorum"))
    account.may(configure=r"^(q|q\.dead)$")
    put_raw(vhost_url, *BAD, *GOOD)
    with working(account.url, fails_bad, max_attempts=2, concurrency=4) as worker:
        others_are_handled(worker, "there is no queue q.wait.100: 403 ACCESS_REFUSED")
        account.may()
        until(lambda: worker["dead_lettered_attempts"] == len(BAD), "they are tried again, and moved", 120)
        assert worker["unmovable"] == 0


def test_retries_beyond_the_limit_of_queues_are_in_nobodys_way_and_a_drain_leaves_them(
    vhost_url: str, broker: LocalBroker, vhost: str, limits: None
) -> None:
    declare(vhost_url, "q", queue_arguments("quorum"))
    ctl(broker, "set_vhost_limits", "-p", vhost, '{"max-queues": 1}')
    put_raw(vhost_url, *BAD, *GOOD)
    with working(vhost_url, fails_bad, concurrency=4) as worker:
        others_are_handled(worker, "there is no queue q.wait.100: ")
        worker.worker.drain(600)
        until(worker.diary.ended.is_set, "it does not wait for its whole time", 60)
    until(lambda: ready_count(vhost_url) == len(BAD), "they are in the queue again")


def test_dead_letters_for_a_full_queue_are_in_nobodys_way(
    vhost_url: str, broker: LocalBroker, vhost: str, limits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_RENEW_AFTER_S", 2.0)
    for name in ("q", "q.dead"):
        declare(vhost_url, name, queue_arguments("quorum"))
    publish(vhost_url, 2, queue="q.dead")
    ctl(broker, "set_policy", "-p", vhost, "small", r"\.dead$", '{"max-length": 1, "overflow": "reject-publish"}')
    put_raw(vhost_url, *BAD, *GOOD)
    with working(vhost_url, fails_bad, max_attempts=1, concurrency=4) as worker:
        others_are_handled(worker, "the queue q.dead takes no more messages")
        ctl(broker, "clear_policy", "-p", vhost, "small")
        until(lambda: worker["dead_lettered_attempts"] == len(BAD), "they are moved once there is room", 120)
    assert ready_count(vhost_url, "q.dead") == 2 + len(BAD)


def test_a_connection_on_which_a_queue_was_full_is_renewed_under_steady_traffic_too(
    vhost_url: str, broker: LocalBroker, vhost: str, limits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something is on its way at every moment."""
    is_over = threading.Event()

    def handle(message: Message) -> None:
        fails_bad(message)
        if not is_over.is_set():
            message.publish("t", b"good")

    monkeypatch.setattr(publisher, "_RENEW_AFTER_S", 2.0)
    for name in ("q", "q.dead"):
        declare(vhost_url, name, queue_arguments("quorum"))
    publish(vhost_url, 2, queue="q.dead")
    ctl(broker, "set_policy", "-p", vhost, "small", r"\.dead$", '{"max-length": 1, "overflow": "reject-publish"}')
    put_raw(vhost_url, *BAD, *GOOD, *GOOD)
    with working(vhost_url, handle, max_attempts=1, concurrency=16) as worker:
        try:
            until(lambda: worker["unmovable"] == len(BAD), "those that wait are counted", 60)
            ctl(broker, "clear_policy", "-p", vhost, "small")
            until(lambda: worker["dead_lettered_attempts"] == len(BAD), "they are moved once there is room", 60)
        finally:
            is_over.set()
        until(lambda: worker["held"] == 0 and ready_count(vhost_url) == 0, "the others come to an end", 60)
    assert ready_count(vhost_url, "q.dead") == 2 + len(BAD)


@pytest.mark.parametrize("arguments", [{"x-dead-letter-exchange": "dlx"}, {"x-dead-letter-exchange": ""}], ids=str)
def test_what_can_be_moved_nowhere_is_not_rejected_where_that_would_lose_it(
    vhost_url: str, account: Account, arguments: dict[str, str]
) -> None:
    """An exchange that is not there loses it, the default one brings it straight back."""
    declare(vhost_url, "q", main_arguments(QueueSpec(topic="t", queue="q", arguments=arguments)) or {})
    declare(vhost_url, "q.dead", queue_arguments("quorum"))
    account.may(write="^(q.*|dlx)$")
    put_raw(vhost_url, *BAD, *GOOD)
    with working(account.url, fails_bad, max_attempts=1, arguments=arguments, concurrency=4) as worker:
        others_are_handled(worker, "403")
        assert worker["dead_lettered_attempts"] == 0
        assert worker["received"] == len(BAD) + len(GOOD)


def test_replies_over_which_connections_end_are_told_apart_however_slow_the_broker_is(
    vhost_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns are far shorter than a round trip at first: two of them are on their way together."""
    monkeypatch.setattr(publish_turns, "_LEAST_TURN_S", 1e-6)

    def answer(message: Message) -> None:
        message.reply(b"x")

    declare(vhost_url, "q", queue_arguments("quorum"))
    declare(vhost_url, "answers", {})
    put_raw(vhost_url, *[(b"bad", raw_of(message_id=f"bad {n}", reply_to=TO_NOBODY)) for n in range(4)])
    put_raw(vhost_url, *[(b"good", raw_of(message_id=f"good {n}", reply_to="answers")) for n in range(20)])
    with working(vhost_url, answer, max_attempts=1, concurrency=16) as worker:
        until(lambda: worker["acked"] == 20 and worker["dead_lettered_attempts"] == 4, "all are settled", 120)


def test_a_topic_that_settling_does_not_know_yet_fails_that_message_alone(vhost_url: str) -> None:
    def handle(message: Message) -> None:
        if message.attempt == 1:
            message.publish("new", b"x")

    declare(vhost_url, "q", queue_arguments("quorum"))
    with working(vhost_url, handle, max_attempts=2) as worker:
        queue = worker.worker._queue
        worker.worker._queue = replace(queue, routes={**queue.routes, "new": "new.q"})
        publish(vhost_url, 1)
        until(lambda: worker["acked"] == 1, "it is handled at its second attempt")
        assert (worker["retried"], worker["reconnects"]) == (1, 0)


def test_publishes_of_one_message_to_a_full_queue_wait_together_until_there_is_room(vhost_url: str) -> None:
    def handle(message: Message) -> None:
        for n in range(10):
            message.publish("other", b"%d" % n)

    full = {**queue_arguments("classic"), "x-max-length": 10, "x-overflow": "reject-publish"}
    declare(vhost_url, "q", queue_arguments("quorum"))
    declare(vhost_url, "other.q", full)
    publish(vhost_url, 10, queue="other.q")
    with working(vhost_url, handle, max_attempts=1) as worker:
        publish(vhost_url, 1)
        following = worker.worker._consumer._settler.following
        until(lambda: any(each._no_room_since_s for each in list(following.values())), "there is no room")
        with channel_to(vhost_url) as channel:
            channel.queue_purge("other.q")
        until(lambda: worker["acked"] == 1, "all arrive")
    assert ready_count(vhost_url, "other.q") == 10


def test_a_channel_that_ends_over_nobodys_message_blames_none(vhost_url: str, broker: LocalBroker) -> None:
    def handle(message: Message) -> None:
        if message.attempt == 1:
            raise RuntimeError("the database is away")

    declare(vhost_url, "q", queue_arguments("quorum"))
    with working(vhost_url, handle, rungs_ms=(200,)) as worker:
        publish(vhost_url, 1)
        until(lambda: worker["acked"] == 1, "the wait queue is there")
        name = f'rabbit_misc:r(<<"{vhost_url.rpartition("/")[2]}">>, queue, <<"q.wait.200">>)'
        leader = f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), {{N, _}} = amqqueue:get_pid(Q)"
        ctl(broker, "eval", f"{leader}, sys:suspend(N).")
        try:
            publish(vhost_url, 1)
            until(lambda: worker.worker._consumer._publisher._sent, "its retry is on its way, alone")
            crash = (
                "[exit(P, boom) || P <- rabbit_channel:list(), {confirm, true} <- rabbit_channel:info(P, [confirm])]."
            )
            ctl(broker, "eval", crash)
        finally:
            ctl(broker, "eval", f"{leader}, sys:resume(N).")
        until(lambda: worker["acked"] >= 2, "it is handled all the same", 60)
        assert worker["dead_lettered_permanent"] + worker["dead_lettered_attempts"] == 0


@pytest.mark.parametrize("arguments", [{}, {"x-max-length": 1000}], ids=["the same", "another form"])
def test_a_worker_at_work_that_a_queue_made_anew_has_forgotten_finishes_and_is_replaced(
    vhost_url: str, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, int]
) -> None:
    monkeypatch.setattr(delivery_watch, "LOOK_EVERY_S", 0.3)
    is_over = threading.Event()

    def handle(message: Message) -> None:
        if message.body == b"bad":
            is_over.wait(120)

    declare(vhost_url, "q", queue_arguments("quorum"))
    try:
        with working(vhost_url, handle, is_existing=True, concurrency=4) as worker:
            put_raw(vhost_url, BAD[0])
            until(lambda: worker["running"] == 1, "one is at work")
            with channel_to(vhost_url) as channel:
                channel.queue_delete("q")
                channel.queue_declare("q", durable=True, arguments={**queue_arguments("quorum"), **arguments})
            put_raw(vhost_url, *GOOD)
            until(lambda: worker["phase"] == "draining" or worker["acked"] >= len(GOOD), "it is told, or finds out", 60)
            assert worker["running"] == 1, "nothing is cut short"
            has_found_out = worker["phase"] == "draining"
            is_over.set()
            if has_found_out:
                until(worker.diary.ended.is_set, "it ends")
            else:  # told in time it consumes from the new queue, and has nothing to end for
                until(lambda: worker["running"] == 0, "it goes on")
    finally:
        is_over.set()
    with working(vhost_url, handle, is_existing=True) as worker:
        until(lambda: ready_count(vhost_url) == 0 and worker["held"] == 0, "another handles what waits")


def full_dead_queue(vhost_url: str) -> None:
    """So that no dead letter finds room."""
    declare(vhost_url, "q", queue_arguments("quorum"))
    declare(vhost_url, "q.dead", {**queue_arguments("classic"), "x-max-length": 1, "x-overflow": "reject-publish"})
    publish(vhost_url, 1, queue="q.dead")


def test_what_is_stuck_keeps_no_slot_idle_beside_long_handlers(vhost_url: str) -> None:
    is_over = threading.Event()

    def handle(message: Message) -> None:
        fails_bad(message)
        is_over.wait(120)

    full_dead_queue(vhost_url)
    put_raw(vhost_url, BAD[0], *GOOD)
    try:
        with working(vhost_url, handle, max_attempts=1, queue_type="classic", concurrency=8, declare=False) as worker:
            until(lambda: worker["unmovable"] == 1 and worker["running"] == 8, "all slots are at work", 60)
            is_over.set()
    finally:
        is_over.set()


def test_others_are_handled_beside_however_many_are_stuck(vhost_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "_MANY_STUCK", 3)
    monkeypatch.setattr(subscription, "_SLOW_EVERY_S", 0.5)
    full_dead_queue(vhost_url)
    put_raw(vhost_url, *BAD, *GOOD)
    with working(vhost_url, fails_bad, max_attempts=1, queue_type="classic", concurrency=4, declare=False) as worker:
        others_are_handled(worker, "the queue q.dead takes no more messages")
        assert worker["received"] == len(BAD) + len(GOOD), "none comes again and again"


def test_who_passes_by_many_that_are_stuck_does_not_hoard_the_others(vhost_url: str) -> None:
    def handle(message: Message) -> None:
        pause.wait(0.01)
        fails_bad(message)

    pause = threading.Event()
    full_dead_queue(vhost_url)
    mixed = [(b"bad" if n % 2 else b"good", raw_of(message_id=str(n))) for n in range(2_000)]
    put_raw(vhost_url, *mixed)
    settings = {"max_attempts": 1, "concurrency": 4, "prefetch": 100, "queue_type": "classic", "declare": False}
    with working(vhost_url, handle, **settings) as worker:
        settler, most = worker.worker._consumer._settler, 0
        while worker["unmovable"] < 500:
            most = max(most, settler.in_slots_count)
            pause.wait(0.05)
        assert most <= 200, "twice the prefetch at most"


def test_large_bodies_that_are_not_kept_are_moved_once_there_is_room(vhost_url: str) -> None:
    """One is kept however large: who asks whether there is room again."""
    full_dead_queue(vhost_url)
    put_raw(vhost_url, *[(b"x" * 200_000, raw_of(message_id=f"large {n}")) for n in range(3)])
    with working(
        vhost_url, fails_bad, max_attempts=1, queue_type="classic", declare=False, concurrency=4, prefetch_bytes=100_000
    ) as worker:
        until(lambda: worker["unmovable"] == 3, "none finds a place", 60)
        with channel_to(vhost_url) as channel:
            channel.queue_delete("q.dead")
            channel.queue_declare("q.dead", durable=True)
        until(lambda: worker["dead_lettered_attempts"] == 3, "they are moved once there is room", 120)
    assert ready_count(vhost_url, "q.dead") == 3
