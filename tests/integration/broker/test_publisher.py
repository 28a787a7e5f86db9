"""Publishing to a real broker: every publish gets its answer, whatever happens in between."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_ray import Message
from hermes_ray.broker import publisher
from hermes_ray.broker.outgoing import PUBLISHED_MS, encode_headers, fresh, retry
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.publisher import Answer
from hermes_ray.broker.topology import wait_arguments
from tests.support.deliveries import delivery
from tests.support.ledger import Ledger, Sender, channel_to, declare, publish, ready_count, sending, take, until
from tests.support.patience import PATIENCE
from tests.support.rabbitmqctl import ctl
from tests.support.slow_line import slow_line
from tests.support.workers import Gate, working


@pytest.fixture
def sender(vhost_url: str) -> Iterator[Sender]:
    with channel_to(vhost_url) as channel:
        channel.queue_declare("q", durable=True, arguments={"x-queue-type": "quorum"})
    with sending(vhost_url) as sender:
        yield sender


def test_no_publish_waits_for_the_confirm_of_the_one_before(sender: Sender, vhost_url: str) -> None:
    messages = [fresh("q", b"{}") for _ in range(2000)]

    assert sender.send(messages) == 2000

    until(lambda: len(sender.answers) == 2000, "all answers")
    assert sorted(sender.ids(Answer.CONFIRMED)) == sorted(m.properties.get("message_id") for m in messages)
    assert ready_count(vhost_url) == 2000


def test_a_publish_to_a_missing_queue_is_returned_and_its_neighbours_are_confirmed(sender: Sender) -> None:
    messages = [fresh("q" if n % 3 else "missing", b"{}") for n in range(30)]

    sender.send(messages)

    until(lambda: len(sender.answers) == 30, "all answers")
    returned = [m.properties.get("message_id") for m in messages if m.queue == "missing"]
    assert sorted(sender.ids(Answer.RETURNED)) == sorted(returned)
    assert len(sender.ids(Answer.CONFIRMED)) == 20


def test_a_large_body_on_a_slow_line_is_waited_for_while_it_goes_out(
    vhost_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_SILENCE_S", 0.5)
    for queue in ("q", "other"):
        declare(vhost_url, queue, {})
    with slow_line(vhost_url, bytes_per_s=3e6) as (url, connections), sending(url) as sender:
        sender.send([fresh("q", b"x" * 12_000_000), fresh("other", b"next")])
        until(lambda: len(sender.ids(Answer.CONFIRMED)) == 2, "both are confirmed")
        assert len(connections) == 1
    assert ready_count(vhost_url) == 1


def test_a_full_queue_that_rejects_publishes_answers_with_a_nack(sender: Sender, vhost_url: str) -> None:
    with channel_to(vhost_url) as channel:
        full = {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}
        channel.queue_declare("full", durable=True, arguments=full)

    sender.send(fresh("full", b"{}") for _ in range(5))

    until(lambda: len(sender.answers) == 5, "all answers")
    assert len(sender.ids(Answer.CONFIRMED)) == 1
    assert len(sender.ids(Answer.NACKED)) == 4


def test_what_waits_for_an_answer_may_raise_and_nothing_is_sent_twice(
    sender: Sender, vhost_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(id: str, answer: Answer, _words: str) -> None:
        sender.answers.append((id, answer))
        raise OSError("the disk is full")

    monkeypatch.setattr(sender, "_note", fail)
    sender.send(fresh("q", b"{}") for _ in range(100))

    until(lambda: len(sender.answers) == 100, "all answers")
    assert len(set(sender.ids(Answer.CONFIRMED))) == 100
    assert ready_count(vhost_url) == 100
    assert not sender.crashed.is_set()


def test_a_wait_queue_is_spoken_of_once_it_took_a_message_and_until_it_is_gone(sender: Sender, vhost_url: str) -> None:
    def send(delay_ms: int) -> Answer:
        queue = f"q.wait.{delay_ms}"
        message = retry(delivery(b"{}"), queue=queue, delay_ms=delay_ms, declare=declared.get(delay_ms))
        sender.send([message])
        id = message.properties.get("message_id")
        until(lambda: id in dict(sender.answers), "an answer")
        return dict(sender.answers)[id]

    declared = {60_000: wait_arguments("q", "quorum", 60_000)}
    assert sender.wait_rungs_ms == frozenset()
    assert (send(60_000), send(70_000)) == (Answer.CONFIRMED, Answer.RETURNED)
    assert sender.wait_rungs_ms == {60_000}

    with channel_to(vhost_url) as channel:
        channel.queue_delete("q.wait.60000")
    assert send(60_000) is Answer.RETURNED
    assert sender.wait_rungs_ms == frozenset()
    assert send(60_000) is Answer.CONFIRMED
    assert sender.wait_rungs_ms == {60_000}


def test_a_message_is_stamped_with_an_id_and_the_time_of_its_publish(sender: Sender, vhost_url: str) -> None:
    before_ms = time.time_ns() // 1_000_000
    sender.send([fresh("q", b"{}", table=encode_headers({"kind": "x"})), fresh("q", b"{}", id="mine")])

    first, second = take(vhost_url, "q", 2)
    assert str(uuid.UUID(first.id)) == first.id
    assert second.id == "mine"
    assert first.headers["kind"] == "x"
    assert before_ms <= first.headers[PUBLISHED_MS] <= time.time_ns() // 1_000_000
    assert first.properties.delivery_mode == 2


def test_every_publish_is_answered_though_the_connection_is_cut_in_the_middle(
    sender: Sender, broker: LocalBroker, vhost: str, vhost_url: str
) -> None:
    messages = [fresh("q", b"x" * 2000) for _ in range(20_000)]
    sender.send(messages)

    ctl(broker, "close_all_connections", "--vhost", vhost, "a test")

    until(lambda: len(sender.answers) == 20_000, "all answers", within_s=40)
    assert len(sender.ids(Answer.CONFIRMED)) == 20_000
    stored = take(vhost_url, "q", ready_count(vhost_url))
    assert {taken.id for taken in stored} == {m.properties.get("message_id") for m in messages}


def test_what_a_blocked_connection_left_unanswered_is_sent_again_on_the_next(
    sender: Sender, broker: LocalBroker, vhost: str, vhost_url: str, alarm: None
) -> None:
    sender.send([fresh("q", b"{}") for _ in range(50)])
    until(lambda: "blocked" in ctl(broker, "list_connections", "state"), "the connection is blocked")
    assert len(sender.answers) < 50  # what opened the broker's eyes may be through

    ctl(broker, "close_all_connections", "--vhost", vhost, "a test")
    ctl(broker, "set_vm_memory_high_watermark", "0.4")

    until(lambda: len(sender.ids(Answer.CONFIRMED)) == 50, "all confirms")
    assert len(set(sender.ids(Answer.CONFIRMED))) == 50
    assert {taken.id for taken in take(vhost_url, "q", ready_count(vhost_url))} == set(sender.ids(Answer.CONFIRMED))


def test_a_publisher_ends_while_the_broker_reads_nothing_of_it(
    sender: Sender, broker: LocalBroker, alarm: None
) -> None:
    sender.send([fresh("q", b"{}") for _ in range(50)])
    until(lambda: "blocked" in ctl(broker, "list_connections", "state"), "the connection is blocked")
    closed = threading.Event()
    until(lambda: sender._publisher.lost_reason, "it knows")
    sender._io.call(lambda: sender._publisher.close(closed.set))
    assert closed.wait(PATIENCE * 20)


def test_an_alarm_holds_publishes_back_while_acks_still_flow(
    broker: LocalBroker, vhost: str, vhost_url: str, tmp_path: Path
) -> None:
    gate = Gate(Ledger(tmp_path / "ledger"))

    def handle(message: Message) -> None:
        gate.handle(message)
        if message.id == parent:
            for n in range(20):
                message.publish("other", {"child": n})

    def in_queue(name: str) -> int:
        rows = ctl(broker, "list_queues", "--vhost", vhost, "--no-table-headers", "name", "messages").splitlines()
        return next(int(row.split()[1]) for row in rows if row.split()[0] == name)

    with channel_to(vhost_url) as channel:
        channel.queue_declare("other.q", durable=True, arguments={"x-queue-type": "classic"})
    with working(vhost_url, handle, queue_type="classic", concurrency=50) as worker:
        parent, *_ = publish(vhost_url, 31, body=b"held")
        until(lambda: len(gate.entered) == 31, "the handlers run")
        ctl(broker, "set_vm_memory_high_watermark", "0.0001")
        try:
            gate.open()
            until(lambda: in_queue("q") == 1, "all acks but the parent's reach the broker")
            assert worker["held"] == 1
            assert in_queue("other.q") < 20
        finally:
            ctl(broker, "set_vm_memory_high_watermark", "0.4")
        until(lambda: worker["held"] == 0 and in_queue("q") == 0, "the parent is acked")
        assert in_queue("other.q") == 20
        assert worker["reconnects"] == 0
