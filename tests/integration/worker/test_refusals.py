"""What a broker takes amiss, again and again, beside what it takes: only the message that it is about is hurt."""

from __future__ import annotations

from collections import Counter

import pytest

from hermes_ray import Message
from hermes_ray.broker import delivery_watch
from hermes_ray.broker.bindings import Binding
from hermes_ray.broker.fields import encode, encode_entry
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.properties import Properties, properties
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.broker.topology import main_arguments, queue_arguments
from tests.support.deliveries import raw_of
from tests.support.ledger import channel_to, declare, publish, ready_count, until
from tests.support.rabbitmqctl import ctl
from tests.support.raw_client import put_raw, take_raw
from tests.support.workers import working

GOOD = [(b"good", raw_of(message_id=f"good {n}")) for n in range(20)]
TO_NOBODY = "amq.rabbitmq.reply-to.g2gCZAANcmFiYml0QGxvY2FsAAA=.x"  # over which RabbitMQ 3.10 ends the connection
ALARMED_WITHIN_MS = 15_000  # the command for it takes a second, and some beside others


def sized(total: int) -> bytes:
    """Properties of so many bytes."""
    raw = properties(encode_entry("large", encode("")), message_id="odd").raw
    return properties(encode_entry("large", encode("x" * (total - len(raw)))), message_id="odd").raw


@pytest.mark.parametrize("total", [130_500, 130_850, 131_052])
def test_headers_that_grow_on_their_way_through_a_wait_queue_stop_nobody(vhost_url: str, total: int) -> None:
    def fail_odd(message: Message) -> None:
        if message.body == b"odd":
            raise RuntimeError("an odd one")

    declare(vhost_url, "q", queue_arguments("quorum"))
    put_raw(vhost_url, (b"odd", sized(total)), *GOOD)
    with working(vhost_url, fail_odd, max_attempts=3, rungs_ms=(50,)) as worker:
        until(lambda: worker["acked"] == 20, "the others are handled")
        until(lambda: worker["dead_lettered_attempts"] + worker["dead_lettered_permanent"] == 1, "it is kept")
        assert worker["reconnects"] == 0


def test_headers_beyond_the_frames_that_were_agreed_on_are_read(vhost_url: str) -> None:
    """Another client may send larger ones; and a broker adds to those that a policy dead-letters."""
    forward = {"x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q"}
    declare(vhost_url, "q", queue_arguments("quorum"))
    declare(vhost_url, "foreign", {**queue_arguments("classic"), **forward})
    put_raw(vhost_url, (b"odd", sized(20_000)), *GOOD)
    put_raw(vhost_url, (b"odd", sized(131_000)), queue="foreign")
    until(lambda: ready_count(vhost_url) == 22, "all are in the queue")
    with working(f"{vhost_url}?frame_max=8192", lambda message: dict(message.headers)) as worker:
        until(lambda: worker["acked"] == 22, "all are handled")
        assert worker["reconnects"] == 0


def test_replies_over_which_the_broker_ends_the_connection_hold_up_no_others(vhost_url: str) -> None:
    def answer(message: Message) -> None:
        message.reply(b"x")

    declare(vhost_url, "q", queue_arguments("quorum"))
    declare(vhost_url, "answers", {})
    bad = [(b"bad", raw_of(message_id=f"bad {n}", reply_to=TO_NOBODY)) for n in range(10)]
    good = [(b"good", raw_of(message_id=f"good {n}", reply_to="answers")) for n in range(100)]
    put_raw(vhost_url, *bad[:5], *good[:50], *bad[5:], *good[50:])
    with working(vhost_url, answer, max_attempts=1, concurrency=16) as worker:
        until(lambda: worker["acked"] == 100 and worker["dead_lettered_attempts"] == 10, "all are settled", 60)
    assert ready_count(vhost_url, "answers") == 100, "none goes out twice"


def test_a_publish_to_a_full_queue_fails_its_delivery_after_a_while_and_the_others_go_on(vhost_url: str) -> None:
    def handle(message: Message) -> None:
        if message.body == b"odd":
            message.publish("other", b"x")

    declare(vhost_url, "other.q", {**queue_arguments("classic"), "x-max-length": 1, "x-overflow": "reject-publish"})
    declare(vhost_url, "q", queue_arguments("quorum"))
    publish(vhost_url, 1, queue="other.q")
    put_raw(vhost_url, *[(b"odd", raw_of(message_id=str(n))) for n in range(8)], *GOOD)
    with working(vhost_url, handle, max_attempts=1, concurrency=4) as worker:
        until(lambda: worker["dead_lettered_attempts"] == 8, "those that cannot publish are given up", 60)
        until(lambda: worker["acked"] == 20, "the others are handled")
    (dead, *_) = take_raw(vhost_url, "q.dead", 8)
    assert "the queue other.q takes no more messages" in Properties(dead.raw).header("x-hermes-error")


def test_a_wait_queue_that_the_broker_refuses_doubles_nobody_elses_publishes(
    vhost_url: str, broker: LocalBroker, vhost: str, limits: None
) -> None:
    def handle(message: Message) -> None:
        if message.body == b"odd":
            raise RuntimeError("the database is away")
        for n in range(50):
            message.publish("other", b"%d" % n)

    for name in ("q", "other.q"):
        declare(vhost_url, name, queue_arguments("quorum"))
    ctl(broker, "set_vhost_limits", "-p", vhost, '{"max-queues": 2}')
    put_raw(vhost_url, (b"odd", raw_of(message_id="odd")))
    with working(vhost_url, handle, max_attempts=3, rungs_ms=(50,)) as worker:
        for round in range(1, 6):
            publish(vhost_url, 40)
            until(lambda round=round: worker["acked"] == 40 * round, "the others are handled")  # type: ignore[misc]
        assert worker["held"] == 1, "the odd one waits for its queue"
        assert ready_count(vhost_url, "other.q") == 200 * 50
        ctl(broker, "clear_vhost_limits", "-p", vhost)
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is retried", 60)


def test_while_nothing_can_be_published_no_copies_gather_and_the_reason_is_told(
    vhost_url: str, broker: LocalBroker, vhost: str, limits: None
) -> None:
    seen: Counter[str | None] = Counter()

    def handle(message: Message) -> None:
        seen[message.id] += 1
        if message.attempt == 1:
            raise RuntimeError("the database is away")

    declare(vhost_url, "q", queue_arguments("quorum"))
    put_raw(vhost_url, *GOOD[:5])
    until(lambda: "test-" not in ctl(broker, "list_connections", "vhost"), "nobody is connected")
    ctl(broker, "set_vhost_limits", "-p", vhost, '{"max-connections": 1}')
    with working(vhost_url, handle, max_attempts=3, rungs_ms=(50,), ack_timeout_s=3.0) as worker:
        until(lambda: worker["given_back"] >= 10, "they go back, and come again", 60)
        until(lambda: "connection limit" in (worker["lost_reason"] or ""), "the reason is told while they wait")
        ctl(broker, "clear_vhost_limits", "-p", vhost)
        until(lambda: worker["acked"] == 5, "all are handled", 60)
        until(lambda: worker["held"] == 0, "and nothing is left")
        assert worker["retried"] == worker["acked"] == 5, "each was published once"


def test_what_is_held_keeps_no_bodies(vhost_url: str, request: pytest.FixtureRequest) -> None:
    def fail(_message: Message) -> None:
        raise RuntimeError("the database is away")

    declare(vhost_url, "q", queue_arguments("classic"))
    put_raw(vhost_url, *[(b"x" * 100_000, raw_of(message_id=str(n))) for n in range(60)])
    request.getfixturevalue("small_messages")
    with working(vhost_url, fail, max_attempts=1, queue_type="classic", prefetch_bytes=1 << 20) as worker:
        until(lambda: worker["unmovable"] == 60, "all are held", 60)
        assert worker.worker._consumer._held_bytes.now == 0


def test_what_can_be_moved_nowhere_goes_to_the_dead_letter_exchange_of_its_queue(
    vhost_url: str, request: pytest.FixtureRequest
) -> None:
    def fail(message: Message) -> None:
        if message.body != b"good":
            raise RuntimeError("the database is away")

    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "theirs"}
    queue = QueueSpec(topic="t", queue="q", arguments=arguments)
    declare(vhost_url, "q", main_arguments(queue) or {})
    declare(vhost_url, "theirs", queue_arguments("classic"))
    put_raw(vhost_url, (b"x" * 20_000, raw_of(message_id="large")), *GOOD)
    request.getfixturevalue("small_messages")
    with working(vhost_url, fail, max_attempts=1, arguments=arguments) as worker:
        until(lambda: ready_count(vhost_url, "theirs") == 1, "the broker has moved it")
        until(lambda: worker["acked"] == 20 and worker["held"] == 0, "the others are handled")
        assert worker["unmovable"] == 0
        assert worker["dead_lettered_attempts"] + worker["dead_lettered_permanent"] == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_counts_balance_after_lost_connections(vhost_url: str, broker: LocalBroker, vhost: str, kind: str) -> None:
    def handle(message: Message) -> None:
        if message.attempt == 1 and message.id is not None and message.id.endswith("7"):
            raise RuntimeError("try again")

    async def handle_async(message: Message) -> None:
        handle(message)

    settings = {"concurrency": 4, "rungs_ms": (50,)}
    with working(vhost_url, handle if kind == "sync" else handle_async, **settings) as worker:
        for lost in range(1, 4):
            publish(vhost_url, 3000)
            ctl(broker, "close_all_connections", "-p", vhost, "on purpose")
            until(lambda lost=lost: worker["reconnects"] >= lost, "the connection was lost", 30)  # type: ignore[misc]
        until(lambda: ready_count(vhost_url) == 0 and worker["held"] == 0, "all is handled", 60)

        def is_balanced() -> bool:
            said = worker.diary.last
            settled = said["acked"] + said["retried"] + said["dead_lettered_attempts"]
            return bool(said["held"] == 0 and said["received"] == settled + said["given_back"])

        until(is_balanced, "what has come is settled or given back, once each")


def test_a_queue_that_confirms_nothing_holds_up_no_other_publish_or_retry(
    vhost_url: str, broker: LocalBroker, vhost: str
) -> None:
    def handle(message: Message) -> None:
        if message.body == b"stalled":
            message.publish("other", b"x")
        elif message.body == b"fails" and message.attempt == 1:
            raise RuntimeError("the database is away")
        elif message.body == b"third":
            message.publish("third", b"x")

    for name in ("q", "other.q", "third.q"):
        declare(vhost_url, name, queue_arguments("quorum"))
    third = [(b"third", raw_of(message_id=f"third {n}")) for n in range(20)]
    routes = {"t": "q", "other": "other.q", "third": "third.q"}
    leader = f"whereis('{vhost}_other.q')"
    with working(vhost_url, handle, rungs_ms=(50,), concurrency=8, routes=routes) as worker:
        put_raw(vhost_url, (b"stalled", raw_of(message_id="before")))
        until(lambda: worker["acked"] == 1, "all is well before")
        ctl(broker, "eval", f"sys:suspend({leader}).")
        try:
            put_raw(
                vhost_url, (b"stalled", raw_of(message_id="stalled")), (b"fails", raw_of(message_id="fails")), *third
            )
            until(lambda: worker["acked"] == 22, "the others go on")
            assert worker["held"] == 1
        finally:
            ctl(broker, "eval", f"sys:resume({leader}).")
        until(lambda: worker["acked"] == 23, "the last is confirmed")


def test_under_an_alarm_of_the_broker_copies_do_not_gather_and_it_is_told(vhost_url: str, broker: LocalBroker) -> None:
    """The messages come by themselves once it is on: nobody could publish them then."""

    def handle(message: Message) -> None:
        if message.attempt == 1:
            raise RuntimeError("the database is away")

    declare(vhost_url, "q", queue_arguments("classic"))
    to_q = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q"}
    declare(vhost_url, "later", {**queue_arguments("classic"), "x-message-ttl": ALARMED_WITHIN_MS, **to_q})
    settings = {"rungs_ms": (50,), "ack_timeout_s": 4.0, "queue_type": "classic", "concurrency": 8}
    before = ctl(broker, "eval", "vm_memory_monitor:get_vm_memory_high_watermark().").strip()
    with working(vhost_url, handle, **settings) as worker:
        put_raw(vhost_url, (b"first", raw_of(message_id="first")))
        until(lambda: worker["acked"] == 1, "the publisher is connected")
        put_raw(vhost_url, *GOOD[:5], queue="later")
        ctl(broker, "set_vm_memory_high_watermark", "0")
        try:
            until(lambda: worker["given_back"] >= 15, "they go back, and come again", 120)
            until(lambda: "takes no publishes" in (worker["lost_reason"] or ""), "the reason is told")
        finally:
            ctl(broker, "set_vm_memory_high_watermark", before)
        until(lambda: worker["held"] == 0 and ready_count(vhost_url) == 0, "all is handled", 60)
        assert worker["acked"] <= 1 + 2 * 5, "those that were on their way may have arrived, and no others"


@pytest.mark.parametrize("arguments", [{}, {"x-max-length": 1000}], ids=["the same", "another form"])
def test_a_queue_that_is_deleted_and_made_anew_is_consumed_again(
    vhost_url: str, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, int]
) -> None:
    monkeypatch.setattr(delivery_watch, "LOOK_EVERY_S", 0.3)
    declare(vhost_url, "q", queue_arguments("quorum"))
    publish(vhost_url, 1)
    with working(vhost_url, lambda _message: None, is_existing=True) as worker:
        until(lambda: worker["acked"] == 1, "it consumes")
        with channel_to(vhost_url) as channel:
            channel.queue_delete("q")
            channel.queue_declare("q", durable=True, arguments={**queue_arguments("quorum"), **arguments})
        publish(vhost_url, 20)
        until(lambda: worker["acked"] == 21, "the new one is consumed", 150)


def test_a_user_who_may_open_one_channel_consumes_all_the_same(vhost: str, vhost_url: str, broker: LocalBroker) -> None:
    binding = Binding(key="topics.t.bindings[0]", exchange="amq.topic", routing_key="#")
    user = f"one-channel-{vhost}"
    ctl(broker, "add_user", user, "narrow")
    ctl(broker, "set_permissions", "-p", vhost, user, ".*", ".*", ".*")
    ctl(broker, "set_user_limits", user, '{"max-channels": 1}')
    publish_url, narrow_url = vhost_url, vhost_url.replace("guest:guest", f"{user}:narrow")
    with working(narrow_url, lambda _message: None, bindings=(binding,)) as worker:
        publish(publish_url, 5)
        until(lambda: worker["acked"] == 5, "its messages are handled")
