"""Queues that answer nothing, and connections that have to be renewed: others' publishes go on, in one copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hermes_ray import Message
from hermes_ray.broker import answer_watch, publisher
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.topology import queue_arguments
from tests.support.deliveries import raw_of
from tests.support.ledger import declare, publish, ready_count, until
from tests.support.rabbitmqctl import ctl
from tests.support.raw_client import put_raw
from tests.support.workers import Working, working

GOOD = [(b"good", raw_of(message_id=f"good {n}")) for n in range(20)]
BAD = [(b"bad", raw_of(message_id=f"bad {n}")) for n in range(12)]


def fails_bad(message: Message) -> None:
    if message.body != b"good":
        raise RuntimeError("the database is away")


def publishes(message: Message) -> None:
    message.publish("other", b"x")


def declare_all(url: str) -> None:
    """Queues whose leaders can stand still."""
    for queue in ("q", "q.dead", "other.q"):
        declare(url, queue, queue_arguments("quorum"))


def publishes_good(message: Message) -> None:
    fails_bad(message)
    publishes(message)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a minute takes seconds."""
    monkeypatch.setattr(publisher, "_SILENCE_S", 0.5)
    monkeypatch.setattr(answer_watch, "TRY_AGAIN_S", 3.0)


@contextmanager
def without_leader(broker: LocalBroker, vhost_url: str, queue: str) -> Iterator[None]:
    """The quorum queue ``queue`` answers nothing meanwhile."""

    def leader(order: str) -> None:
        name = f'rabbit_misc:r(<<"{vhost_url.rpartition("/")[2]}">>, queue, <<"{queue}">>)'
        ctl(broker, "eval", f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), {{N, _}} = amqqueue:get_pid(Q), {order}.")

    leader("sys:suspend(N)")
    try:
        yield
    finally:
        leader("sys:resume(N)")


@pytest.mark.parametrize("before", [[], GOOD[:8]], ids=["alone", "behind others"])
def test_a_queue_without_a_leader_is_said_and_holds_up_no_publish_to_others(
    vhost_url: str, broker: LocalBroker, soon: None, before: list[tuple[bytes, bytes]]
) -> None:
    """A channel's first message to such a queue blocks the channel for a minute; more wait than there are slots."""
    declare_all(vhost_url)
    with working(vhost_url, publishes_good, max_attempts=1, concurrency=2) as worker:
        with without_leader(broker, vhost_url, "q.dead"):
            put_raw(vhost_url, *before, *BAD[:3])
            said = "cannot publish: no answer to what was published to q.dead"
            until(lambda: worker["lost_reason"] == said, "it is said")
            put_raw(vhost_url, *GOOD)
            until(lambda: worker["acked"] == len(before) + len(GOOD), "the others are published")
            assert worker["lost_reason"] == said
            assert worker["unmovable"] == 3
        until(lambda: worker["dead_lettered_attempts"] == 3, "what was kept back is moved")
        assert worker["lost_reason"] is None
    assert len(before) + len(GOOD) <= ready_count(vhost_url, "other.q") <= 2 * len(before) + len(GOOD)
    assert ready_count(vhost_url, "q.dead") <= 3 + 3


def test_a_connection_on_which_a_queue_was_full_is_renewed_though_another_queue_answers_nothing(
    vhost_url: str, broker: LocalBroker, vhost: str, limits: None, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_RENEW_AFTER_S", 2.0)
    declare_all(vhost_url)
    publish(vhost_url, 2, queue="q.dead")
    ctl(broker, "set_policy", "-p", vhost, "small", r"\.dead$", '{"max-length": 1, "overflow": "reject-publish"}')
    with working(vhost_url, publishes_good, max_attempts=1, concurrency=16) as worker:
        put_raw(vhost_url, GOOD[0])
        until(lambda: worker["acked"] == 1, "the other queue is known to the channel, which it does not block")
        with without_leader(broker, vhost_url, "other.q"):
            put_raw(vhost_url, GOOD[1], *BAD)
            until(lambda: worker["unmovable"] == 1 + len(BAD), "those that wait are counted", 60)
            ctl(broker, "clear_policy", "-p", vhost, "small")
            until(lambda: worker["dead_lettered_attempts"] == len(BAD), "they are moved once there is room", 60)
        until(lambda: worker["acked"] == 2, "the other queue has its message", 60)


def test_copies_for_a_queue_that_does_not_answer_do_not_become_more(vhost_url: str, broker: LocalBroker) -> None:
    """A quorum queue without a leader: each message is given back at its time, and handled again."""
    runs: list[str | None] = []

    def fail(message: Message) -> None:
        runs.append(message.id)
        raise RuntimeError("the database is away")

    for queue in ("q", "q.dead"):
        declare(vhost_url, queue, queue_arguments("quorum"))
    with working(vhost_url, fail, max_attempts=1, ack_timeout_s=2.0, concurrency=4) as worker:
        put_raw(vhost_url, *BAD[:4])
        until(lambda: ready_count(vhost_url, "q.dead") == 4, "they are moved")
        with without_leader(broker, vhost_url, "q.dead"):
            put_raw(vhost_url, *BAD[4:8])
            until(lambda: len(runs) >= 24, "they are handled again and again", 60)
            assert worker["lost_reason"] == "cannot publish: no answer to what was published to q.dead"
        until(lambda: worker["held"] == 0 and ready_count(vhost_url) == 0, "all are moved", 60)
        rounds = len(runs) // 4
    assert ready_count(vhost_url, "q.dead") <= 4 + 4 + 4 + rounds, "one try a round, and those of the last"


@pytest.mark.parametrize("topics", [("other", "third"), ("third", "other")], ids=" then ".join)
def test_a_handler_that_publishes_to_others_too_is_in_nobodys_way_nor_in_that_of_a_drain(
    vhost_url: str, broker: LocalBroker, soon: None, topics: tuple[str, str]
) -> None:
    def handle(message: Message) -> None:
        if message.body == b"bad":
            for topic in topics:
                message.publish(topic, b"x")

    routes = {"other": "other.q", "third": "third.q"}
    for queue in ("q", "q.dead", *routes.values()):
        declare(vhost_url, queue, queue_arguments("quorum"))
    with working(vhost_url, handle, max_attempts=1, concurrency=2, prefetch=2, routes=routes) as worker:
        put_raw(vhost_url, BAD[0])
        until(lambda: worker["acked"] == 1, "all queues are known to the channel")
        with without_leader(broker, vhost_url, "other.q"):
            put_raw(vhost_url, *BAD[1:])
            until(lambda: worker["unmovable"] >= 2, "they are counted", 60)
            put_raw(vhost_url, *GOOD)
            until(lambda: worker["acked"] == 1 + len(GOOD), "the others are handled", 60)
            worker.worker.drain(600)
            until(worker.diary.ended.is_set, "it ends", 60)


def test_what_was_parked_beside_large_bodies_goes_on_once_the_queue_answers(
    vhost_url: str, broker: LocalBroker, soon: None
) -> None:
    declare_all(vhost_url)
    with working(vhost_url, publishes, max_attempts=1, concurrency=4, prefetch_bytes=100_000) as worker:
        put_raw(vhost_url, BAD[0])
        until(lambda: worker["acked"] == 1, "the queue is known to the channel")
        with without_leader(broker, vhost_url, "other.q"):
            put_raw(vhost_url, *[(b"x" * 200_000, raw_of(message_id=f"large {n}")) for n in range(3)])
            until(lambda: worker["unmovable"] == 3, "they are counted", 60)
        until(lambda: worker["acked"] == 4, "all are handled", 60)


def cut(worker: Working) -> None:
    """Its consuming connection is lost, and what it held comes again."""
    reconnects, received, held = worker["reconnects"], worker["received"], worker["held"]
    worker.cut()
    until(lambda: worker["reconnects"] > reconnects, "another connection", 60)
    until(lambda: worker["received"] >= received + held, "all come again", 60)


def test_lost_connections_make_no_copies_for_a_queue_that_does_not_answer(
    vhost_url: str, broker: LocalBroker, soon: None
) -> None:
    declare_all(vhost_url)
    rounds = 6
    with working(vhost_url, publishes, max_attempts=1, concurrency=4) as worker:
        put_raw(vhost_url, BAD[0])
        until(lambda: worker["acked"] == 1, "the queue is known to the channel")
        with without_leader(broker, vhost_url, "other.q"):
            put_raw(vhost_url, *BAD[1:5])
            until(lambda: worker["lost_reason"], "it is said", 60)
            for _ in range(rounds):
                cut(worker)
        until(lambda: worker["acked"] == 5, "all are handled", 60)
    assert ready_count(vhost_url, "other.q") <= 1 + 4 + 4 + rounds, "one try a round, and those of the last"
