"""Dead letters that find no place in Q.dead, where Q dead-letters itself: they go there, or stay, and none is lost."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.broker import dead_letter_exchange, publisher
from hermes_ray.broker.dead_letter_exchange import HomeSearch
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.broker.topology import main_arguments, queue_arguments
from tests.support.account import Account
from tests.support.deliveries import raw_of
from tests.support.ledger import channel_to, declare, publish, ready_count, until
from tests.support.rabbitmqctl import ctl
from tests.support.raw_client import put_raw
from tests.support.workers import working

BAD = [(b"bad" * 300, raw_of(message_id=f"bad {n}")) for n in range(40)]
TO_DEAD_QUEUE = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q.dead"}
TO_EXCHANGE = {"x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "lost"}


def fails(message: Message) -> None:
    raise RuntimeError("the database is away")


def declare_main(vhost_url: str, arguments: dict[str, str]) -> None:
    declare(vhost_url, "q", main_arguments(QueueSpec(topic="t", queue="q", arguments=arguments)) or {})
    declare(vhost_url, "q.dead", queue_arguments("classic"))


def test_what_a_full_dead_letter_queue_takes_not_is_not_rejected_into_it(
    vhost_url: str, broker: LocalBroker, vhost: str, limits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few may wait for room here, by their bytes: the others are kept without them."""
    monkeypatch.setattr(publisher, "_RENEW_AFTER_S", 2.0)
    declare_main(vhost_url, TO_DEAD_QUEUE)
    publish(vhost_url, 1, queue="q.dead")
    ctl(broker, "set_policy", "-p", vhost, "small", r"\.dead$", '{"max-length": 1, "overflow": "reject-publish"}')
    put_raw(vhost_url, *BAD)
    settings = {"max_attempts": 1, "concurrency": 4, "prefetch_bytes": 10_000, "arguments": TO_DEAD_QUEUE}
    with working(vhost_url, fails, **settings) as worker:
        until(lambda: worker["unmovable"] == len(BAD), "all are stuck", 60)
        assert worker["dead_lettered_attempts"] == 0
        ctl(broker, "clear_policy", "-p", vhost, "small")
        until(lambda: worker["dead_lettered_attempts"] == len(BAD), "all are moved once there is room", 120)
    assert ready_count(vhost_url, "q.dead") == 1 + len(BAD)


def test_where_the_default_exchange_is_forbidden_dead_letters_go_where_their_queue_has_them_go(
    vhost_url: str, account: Account
) -> None:
    """Nothing is bound to that exchange at first: what is rejected then would be lost."""
    declare_main(vhost_url, TO_EXCHANGE)
    declare(vhost_url, "theirs", {})
    with channel_to(vhost_url) as channel:
        channel.exchange_declare("dlx", "direct")
        account.may(write="^(q.*|dlx)$")
        put_raw(vhost_url, *BAD[:12])
        with working(account.url, fails, max_attempts=1, concurrency=4, arguments=TO_EXCHANGE) as worker:
            until(lambda: worker["unmovable"] == 12, "all are stuck", 60)
            assert worker.worker.state().unmovable_reason == "there is no queue lost of exchange dlx"
            assert worker["dead_lettered_attempts"] == 0
            channel.queue_bind("theirs", "dlx", "lost")
            until(lambda: worker["dead_lettered_attempts"] == 12, "all are moved once there is a queue", 120)
    assert ready_count(vhost_url, "theirs") == 12


def test_on_a_healthy_broker_each_dead_letter_is_there_once(vhost_url: str, account: Account) -> None:
    """Each closes the channel before it is sent to the exchange: nothing else is to be on its way then."""
    declare_main(vhost_url, TO_EXCHANGE)
    declare(vhost_url, "theirs", queue_arguments("quorum"))
    with channel_to(vhost_url) as channel:
        channel.exchange_declare("dlx", "direct")
        channel.queue_bind("theirs", "dlx", "lost")
    account.may(write="^(q.*|dlx)$")
    put_raw(vhost_url, *[(b"bad", raw_of(message_id=str(n))) for n in range(100)])
    with working(account.url, fails, max_attempts=1, concurrency=4, arguments=TO_EXCHANGE) as worker:
        until(lambda: worker["dead_lettered_attempts"] == 100, "all are moved", 120)
        assert worker["reconnects"] == 0
    assert ready_count(vhost_url, "theirs") == 100


def test_an_empty_routing_key_replaces_that_of_the_message(vhost_url: str, account: Account) -> None:
    arguments = {"x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": ""}
    declare_main(vhost_url, arguments)
    declare(vhost_url, "theirs", {})
    with channel_to(vhost_url) as channel:
        channel.exchange_declare("dlx", "direct")
        channel.queue_bind("theirs", "dlx", "")
    account.may(write="^(q.*|dlx)$")
    put_raw(vhost_url, BAD[0])
    with working(account.url, fails, max_attempts=1, arguments=arguments) as worker:
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is moved", 60)
    assert ready_count(vhost_url, "theirs") == 1


def test_one_question_at_a_time_is_asked_of_a_queue_that_does_not_answer(
    vhost_url: str, vhost: str, broker: LocalBroker, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "theirs"}
    look, looks = HomeSearch.look, Counter[str]()

    def counted(search: HomeSearch, *arguments: Any) -> None:
        looks["count"] += 1
        look(search, *arguments)

    monkeypatch.setattr(HomeSearch, "look", counted)
    monkeypatch.setattr(dead_letter_exchange, "LEAST_PAUSE_S", 0.01)
    declare_main(vhost_url, arguments)
    declare(vhost_url, "theirs", {})
    account.may(write="^q.*$")

    def queue_process(order: str) -> None:
        name = f'rabbit_misc:r(<<"{vhost}">>, queue, <<"theirs">>)'
        ctl(broker, "eval", f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), {order}(amqqueue:get_pid(Q)).")

    queue_process("sys:suspend")
    put_raw(vhost_url, BAD[0])
    with working(account.url, fails, max_attempts=1, arguments=arguments) as worker:
        until(lambda: worker["unmovable"] == 1, "it is held", 60)
        until(lambda: looks["count"] >= 10, "it is time to ask again, many times over", 60)
        connection: Any = worker.worker._consumer._link._connection
        assert len(connection._channels) == 2
        queue_process("sys:resume")
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is moved", 60)
    assert ready_count(vhost_url, "theirs") == 1


def test_who_may_have_no_channel_more_is_not_cut_short_to_look_for_that_exchange(
    vhost_url: str, account: Account
) -> None:
    is_over = threading.Event()

    def handle(message: Message) -> None:
        if message.body == b"slow":
            is_over.wait(60)
        else:
            fails(message)

    declare_main(vhost_url, TO_EXCHANGE)
    account.may(write="^(q.*|dlx)$")
    account.may_have('{"max-channels": 2}')
    put_raw(vhost_url, BAD[0], (b"slow", raw_of(message_id="slow")))
    with working(account.url, handle, max_attempts=1, concurrency=4, arguments=TO_EXCHANGE) as worker:
        until(lambda: worker["reconnects"] == 1 and worker["unmovable"] == 1, "it has learnt that", 60)
        is_over.set()
        until(lambda: worker["acked"] == 1, "the other is handled", 60)
        assert worker["reconnects"] == 1
