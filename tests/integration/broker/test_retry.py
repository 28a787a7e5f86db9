"""What becomes of messages whose handler fails, and of messages a handler publishes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from pika import BasicProperties

from hermes_ray import Message, PermanentError
from hermes_ray.broker.outgoing import ATTEMPT, DUE_MS, PUBLISHED_MS
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.topology import queue_arguments, wait_arguments
from tests.support.ledger import Ledger, channel_to, declare, publish, put, queue_exists, ready_count, take, until
from tests.support.rabbitmqctl import ctl
from tests.support.workers import Working, working


def fail(_message: Message) -> None:
    raise RuntimeError("the database is away")


def fail_until(attempt: int, ledger: Ledger) -> Callable[[Message], None]:
    """A handler that succeeds from ``attempt`` on."""

    def handle(message: Message) -> None:
        ledger.note(message)
        if message.attempt < attempt:
            raise RuntimeError("not yet")

    return handle


def delete(url: str, queue: str) -> None:
    with channel_to(url) as channel:
        channel.queue_delete(queue)


def settled(worker: Working) -> bool:
    """Whether it holds nothing any more."""
    return bool(worker["received"]) and worker["held"] == 0


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_a_failed_message_comes_back_after_its_delay_one_attempt_further(
    vhost_url: str, ledger: Ledger, queue_type: str
) -> None:
    started: list[tuple[float, Message]] = []

    def handle(message: Message) -> None:
        started.append((time.time(), message))
        fail_until(3, ledger)(message)

    with working(vhost_url, handle, queue_type=queue_type, rungs_ms=(300,)) as worker:
        (id,) = publish(vhost_url, 1, body=b"original")
        until(lambda: worker["acked"] == 1, "the third attempt succeeds")
        assert worker["retried"] == 2

    assert [(m.id, m.body, m.attempt) for _, m in started] == [(id, b"original", n) for n in (1, 2, 3)]
    for (before_s, _), (at_s, message) in pairwise(started):
        assert at_s - before_s >= 0.3
        assert message.headers[DUE_MS] / 1000 <= at_s + 0.05
        assert message.headers[PUBLISHED_MS] == started[0][1].headers[PUBLISHED_MS]
    assert queue_exists(vhost_url, "q.wait.300")
    assert not queue_exists(vhost_url, "q.dead")


def test_a_message_waits_in_the_queue_of_its_delay(vhost_url: str) -> None:
    with working(vhost_url, fail, rungs_ms=(60_000,)) as worker:
        (id,) = publish(vhost_url, 1)
        until(lambda: settled(worker), "it is moved")
        assert worker["retried"] == 1
        assert ready_count(vhost_url) == 0

    (waiting,) = take(vhost_url, "q.wait.60000")
    assert waiting.id == id
    assert waiting.headers[ATTEMPT] == 2
    assert waiting.headers[DUE_MS] == pytest.approx((time.time() + 60) * 1000, abs=10_000)


def test_after_the_last_attempt_the_original_is_kept_with_the_reason(vhost_url: str) -> None:
    properties = BasicProperties(
        content_type="application/x-report",
        content_encoding="identity",
        correlation_id="c-1",
        reply_to="answers",
        priority=3,
        message_id="mine",
        timestamp=1_700_000_000,
        type="report",
        app_id="client",
        headers={"mine": "kept", "x-custom": 7},
    )
    with working(vhost_url, fail, max_attempts=3, rungs_ms=(50, 71)) as worker:
        put(vhost_url, b"\x00raw\xff", properties)
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is given up")
        assert worker["retried"] == 2
        until(lambda: settled(worker), "nothing is held")

    (dead,) = take(vhost_url, "q.dead")
    assert dead.body == b"\x00raw\xff"
    kept = ("content_type", "content_encoding", "correlation_id", "reply_to", "priority", "message_id", "timestamp")
    for name in (*kept, "type", "app_id"):
        assert getattr(dead.properties, name) == getattr(properties, name), name
    assert dead.headers["mine"] == "kept"
    assert dead.headers["x-custom"] == 7
    assert dead.headers["x-hermes-reason"] == "attempts"
    assert dead.headers["x-hermes-error"] == "RuntimeError: the database is away"
    assert dead.headers["x-hermes-topic"] == "t"
    assert "in fail\n" in dead.headers["x-hermes-traceback"]
    assert dead.headers[ATTEMPT] == 3
    assert not [name for name in dead.headers if name.startswith(("x-death", "x-first-death", "x-last-death"))]


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b""])
def test_a_body_that_is_not_json_is_dead_at_once(vhost_url: str, body: bytes) -> None:
    with working(vhost_url, lambda message: message.json()) as worker:
        (id,) = publish(vhost_url, 1, body=body)
        until(lambda: worker["dead_lettered_permanent"] == 1, "it is given up")
        assert worker["retried"] == 0

    (dead,) = take(vhost_url, "q.dead")
    assert (dead.id, dead.body, dead.headers["x-hermes-reason"]) == (id, body, "permanent")
    assert dead.headers["x-hermes-error"].startswith("PermanentError: the body is not JSON")


def test_a_permanent_error_and_a_single_attempt_use_no_wait_queue(vhost_url: str) -> None:
    def handle(message: Message) -> None:
        raise PermanentError("no such player") if message.body == b"permanent" else RuntimeError("away")

    with working(vhost_url, handle, max_attempts=1, rungs_ms=()) as worker:
        publish(vhost_url, 1, body=b"permanent")
        publish(vhost_url, 1, body=b"other")
        until(lambda: worker["dead_lettered_permanent"] == 1 == worker["dead_lettered_attempts"], "both are given up")

    dead = {taken.body: taken.headers["x-hermes-reason"] for taken in take(vhost_url, "q.dead", 2)}
    assert dead == {b"permanent": "permanent", b"other": "attempts"}


def test_a_message_without_an_id_gets_one_at_its_first_retry_and_keeps_it(vhost_url: str) -> None:
    seen: list[str | None] = []

    def handle(message: Message) -> None:
        seen.append(message.id)
        fail(message)

    with working(vhost_url, handle, max_attempts=3) as worker:
        put(vhost_url, b"{}", BasicProperties())
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is given up")

    first, second, third = seen
    assert first is None
    assert second is not None
    assert third == second
    assert take(vhost_url, "q.dead")[0].id == second


def test_headers_of_every_type_survive_a_retry(vhost_url: str) -> None:
    headers = {
        "flag": True,
        "big": 2**62,
        "negative": -5,
        "price": Decimal("1.25"),
        "at": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        "nothing": None,
        "raw": b"\x00\xff",
        "text": "żółw",
        "list": [1, "two", {"three": 3}],
    }
    with working(vhost_url, fail, max_attempts=2) as worker:
        put(vhost_url, b"{}", BasicProperties(headers=headers))
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is given up")

    dead = take(vhost_url, "q.dead")[0].headers
    assert {name: dead[name] for name in headers} == headers


def test_an_error_that_is_no_proper_text_is_kept_readable(vhost_url: str) -> None:
    def handle(_message: Message) -> None:
        raise RuntimeError("no file caf\udce9" + "é" * 10_000)

    with working(vhost_url, handle, max_attempts=1) as worker:
        publish(vhost_url, 1)
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is given up")

    assert take(vhost_url, "q.dead")[0].headers["x-hermes-error"].startswith("RuntimeError: no file caf?é")


def test_a_wait_queue_that_was_deleted_is_declared_again(vhost_url: str, ledger: Ledger) -> None:
    with working(vhost_url, fail_until(2, ledger)) as worker:
        publish(vhost_url, 1)
        until(lambda: worker["acked"] == 1, "the first is through")
        delete(vhost_url, "q.wait.100")
        publish(vhost_url, 1)
        until(lambda: worker["acked"] == 2, "the second is through")
    assert ledger.attempts() == {1, 2}


def test_a_wait_queue_that_exists_in_another_form_is_used_as_it_is(vhost_url: str, ledger: Ledger) -> None:
    declare(vhost_url, "q.wait.200", wait_arguments("q", "classic", 200))
    with working(vhost_url, fail_until(2, ledger), rungs_ms=(100, 200), concurrency=8) as worker:
        ids = publish(vhost_url, 40)
        until(lambda: worker["acked"] >= 40 and worker["held"] == 0, "all are through")
        assert set(ledger.handled()) == set(ids)
        until(lambda: ready_count(vhost_url, "q.wait.100") == 0 == ready_count(vhost_url, "q.wait.200"), "none waits")
        assert sum(ledger.handled().values()) <= 40 * 3  # a refusal repeats what was on its way, once


def test_a_dead_letter_the_broker_refuses_is_held_until_there_is_room(vhost_url: str) -> None:
    declare(vhost_url, "q.dead", {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"})
    declare(vhost_url, "q", queue_arguments("classic"))
    with working(vhost_url, fail, declare=False, max_attempts=1) as worker:
        ids = publish(vhost_url, 3)
        until(lambda: worker["dead_lettered_attempts"] == 1 and worker["held"] == 2, "one fits, and its ack is sent")
        dead = take(vhost_url, "q.dead", 3)
        until(lambda: settled(worker), "all are moved")
        assert {taken.id for taken in dead} == set(ids)


def test_nothing_is_declared_where_the_topology_is_passive(vhost_url: str, broker: LocalBroker, vhost: str) -> None:
    ours = {"q": {}, "q.dead": {}, "q.wait.100": {"x-message-ttl": 100, "x-dead-letter-exchange": ""}}
    ours["q.wait.100"]["x-dead-letter-routing-key"] = "q"
    for name, arguments in ours.items():
        declare(vhost_url, name, {"x-queue-type": "classic", **arguments})
    with working(vhost_url, fail, declare=False, max_attempts=2) as worker:
        publish(vhost_url, 1)
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is given up")
    assert take(vhost_url, "q.dead")[0].headers[ATTEMPT] == 2
    names = ctl(broker, "list_queues", "--vhost", vhost, "--no-table-headers", "name", "arguments").splitlines()
    assert sorted(line.split()[0] for line in names) == sorted(ours)


def test_the_retries_of_a_queue_full_of_failing_messages_lose_and_repeat_none(vhost_url: str, ledger: Ledger) -> None:
    with working(vhost_url, fail_until(3, ledger), concurrency=8, prefetch=100, rungs_ms=(50, 71, 100)) as worker:
        ids = publish(vhost_url, 1000)
        until(lambda: worker["acked"] == 1000, "all are through")
        assert ledger.handled() == dict.fromkeys(ids, 3)
        assert worker["retried"] == 2000
