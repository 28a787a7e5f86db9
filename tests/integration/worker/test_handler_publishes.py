"""What handlers publish: confirmed before the ack, the same ids again, nothing from a handler that fails."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pika import BasicProperties

from hermes_ray import Message
from hermes_ray.broker.outgoing import PUBLISHED_MS
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.broker.topology import queue_arguments
from tests.support.ledger import Ledger, declare, publish, put, ready_count, take, until
from tests.support.patience import PATIENCE
from tests.support.workers import working


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def test_a_delivery_is_acked_only_when_all_it_published_is_confirmed(vhost_url: str) -> None:
    def handle(message: Message) -> None:
        for n in range(10):
            message.publish("other", {"child": n}, headers={"n": n})

    declare(vhost_url, "other.q", queue_arguments("quorum"))
    with working(vhost_url, handle) as worker:
        publish(vhost_url, 1)
        until(lambda: worker["acked"] == 1, "it is acked")
        assert ready_count(vhost_url, "other.q") == 10

    children = take(vhost_url, "other.q", 10)
    assert [child.body for child in children] == [b'{"child": %d}' % n for n in range(10)]
    assert len({child.id for child in children}) == 10
    assert all(child.headers[PUBLISHED_MS] for child in children)


def test_a_redelivery_publishes_the_same_ids_again(vhost_url: str, ledger: Ledger) -> None:
    def handle(message: Message) -> None:
        ledger.note(message)
        message.publish("other", b"child")
        message.publish("other", b"child")

    declare(vhost_url, "other.q", queue_arguments("quorum"))
    with working(vhost_url, handle) as worker:
        for _ in range(2):
            put(vhost_url, b"{}", BasicProperties(message_id="mine"))
        until(lambda: worker["acked"] == 2, "both are acked")
    ids = [child.id for child in take(vhost_url, "other.q", 4)]
    assert len(set(ids)) == 2


def test_a_handler_that_raises_publishes_nothing(vhost_url: str) -> None:
    def handle(message: Message) -> None:
        message.publish("other", b"child")
        raise RuntimeError("the database is away")

    declare(vhost_url, "other.q", queue_arguments("quorum"))
    with working(vhost_url, handle, max_attempts=2) as worker:
        publish(vhost_url, 1)
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is given up")
        assert worker["finished"] == 2
    assert ready_count(vhost_url, "other.q") == 0


def test_a_publish_to_a_queue_that_is_not_there_fails_the_delivery(vhost_url: str) -> None:
    with working(vhost_url, lambda message: message.publish("other", b"child"), max_attempts=2) as worker:
        publish(vhost_url, 1)
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is given up")
        assert (worker["retried"], worker["acked"]) == (1, 0)
    error = take(vhost_url, "q.dead")[0].headers["x-hermes-error"]
    assert error == "publish failed: there is no queue other.q"


def test_a_publish_to_a_topic_the_deployment_lacks_fails_in_the_handler(vhost_url: str) -> None:
    with working(vhost_url, lambda message: message.publish("nowhere", b"child"), max_attempts=1) as worker:
        publish(vhost_url, 1)
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is given up")
    assert "no topic 'nowhere'" in take(vhost_url, "q.dead")[0].headers["x-hermes-error"]


def test_what_a_handler_has_published_gets_there_although_an_apply_removes_that_topic_before_it_returns(
    vhost_url: str,
) -> None:
    published, removed = threading.Event(), threading.Event()

    def handle(message: Message) -> None:
        message.publish("other", b"child")
        published.set()
        assert removed.wait(PATIENCE * 20)

    declare(vhost_url, "other.q", queue_arguments("quorum"))
    with working(vhost_url, handle) as worker:
        publish(vhost_url, 1)
        assert published.wait(PATIENCE * 20)
        without = QueueSpec(topic="t", queue="q", routes={})
        worker.worker.adapt(without)
        until(lambda: worker["settings"] == without.settings, "the worker has it")
        removed.set()
        until(lambda: worker["acked"] == 1, "it is acked")
    assert ready_count(vhost_url, "other.q") == 1
