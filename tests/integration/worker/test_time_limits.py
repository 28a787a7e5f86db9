"""Handlers that hang, beside those that work: settled before the broker acts, and no neighbour is taken along."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from hermes_ray import Message
from hermes_ray.broker.outgoing import ATTEMPT
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.properties import Properties
from hermes_ray.broker.topology import queue_arguments
from hermes_ray.worker import loop_blocks, time_limits
from tests.support.deliveries import raw_of
from tests.support.ledger import declare, publish, ready_count, take, until
from tests.support.rabbitmqctl import ctl
from tests.support.raw_client import put_raw, take_raw
from tests.support.workers import working

SLOW = (b"slow", raw_of(message_id="slow"))
GOOD = [(b"good", raw_of(message_id=f"good {n}")) for n in range(40)]


@pytest.fixture
def impatient(broker: LocalBroker) -> Iterator[float]:
    """The broker waits for a settlement for so many seconds until the test ends, and looks often."""
    names = {"consumer_timeout": 5000, "channel_tick_interval": 300}
    before: dict[str, str] = {
        name: ctl(broker, "eval", f"application:get_env(rabbit, {name}).").strip() for name in names
    }
    for name, value in names.items():
        ctl(broker, "eval", f"application:set_env(rabbit, {name}, {value}).")
    yield 5.0
    for name, was in before.items():
        known = was.removeprefix("{ok,").removesuffix("}")
        change = f"unset_env(rabbit, {name})" if was == "undefined" else f"set_env(rabbit, {name}, {known})"
        ctl(broker, "eval", f"application:{change}.")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_handler_that_hangs_uses_up_an_attempt_before_the_broker_acts_and_hurts_nobody(
    vhost_url: str, impatient: float, gate: threading.Event, kind: str
) -> None:
    seen: Counter[str | None] = Counter()

    def block(message: Message) -> None:
        seen[message.id] += 1
        if message.body == b"slow":
            gate.wait(60)

    async def wait(message: Message) -> None:
        seen[message.id] += 1
        if message.body == b"slow":
            await asyncio.sleep(60)

    declare(vhost_url, "q", queue_arguments("quorum"))
    put_raw(vhost_url, *GOOD[:20], SLOW, *GOOD[20:])
    handle = block if kind == "sync" else wait
    with working(vhost_url, handle, max_attempts=1, ack_timeout_s=impatient, concurrency=4) as worker:
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is given up", 30)
        until(lambda: worker["acked"] == 40, "the others are handled")
        assert worker["reconnects"] == 0, "the broker had nothing to end a channel for"
        if kind == "sync":
            until(worker.diary.ended.is_set, "its worker makes room for another")
        else:
            publish(vhost_url, 5)
            until(lambda: worker["acked"] == 45, "the slot goes on")
    assert set(seen.values()) == {1}
    (dead,) = take_raw(vhost_url, "q.dead", 1)
    assert Properties(dead.raw).header("x-hermes-reason") == "timeout"
    assert "broker.ack_timeout_s" in Properties(dead.raw).header("x-hermes-error")


def test_how_long_the_broker_waits_is_learnt_from_its_words(
    vhost_url: str, impatient: float, gate: threading.Event
) -> None:
    async def wait(message: Message) -> None:
        if message.body == b"slow":
            await asyncio.sleep(60)

    declare(vhost_url, "q", queue_arguments("quorum"))
    put_raw(vhost_url, SLOW)
    with working(vhost_url, wait, max_attempts=2, rungs_ms=(50,)) as worker:
        until(lambda: worker["reconnects"] == 1, "the broker ends the channel once", 30)
        until(lambda: worker["dead_lettered_attempts"] == 1, "it is given up", 60)
        assert worker["reconnects"] == 1, "and once only"


def test_what_waits_behind_handlers_that_hang_goes_back_for_others(
    vhost_url: str, impatient: float, gate: threading.Event
) -> None:
    def block(_message: Message) -> None:
        gate.wait(60)

    declare(vhost_url, "q", queue_arguments("quorum"))
    put_raw(vhost_url, *GOOD[:10])
    settings = {"ack_timeout_s": impatient, "prefetch": 10, "concurrency": 2, "max_attempts": 1}
    with working(vhost_url, block, **settings) as worker:
        until(lambda: worker["held"] == 10, "it holds them all")
        until(lambda: worker["dead_lettered_attempts"] == 2, "those in the handlers are given up", 30)
        until(worker.diary.ended.is_set, "the worker makes room for another")
        assert worker["reconnects"] == 0
    assert ready_count(vhost_url) == 8


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_message_beyond_the_timeout_is_tried_again_by_whoever_is_there(
    vhost_url: str, gate: threading.Event, kind: str
) -> None:
    attempts: list[int] = []

    def block(message: Message) -> None:
        attempts.append(message.attempt)
        if message.attempt == 1:
            gate.wait(60)

    async def wait(message: Message) -> None:
        attempts.append(message.attempt)
        if message.attempt == 1:
            await asyncio.sleep(60)

    handle = block if kind == "sync" else wait
    declare(vhost_url, "q", queue_arguments("quorum"))
    put_raw(vhost_url, SLOW)
    with working(vhost_url, handle, timeout_s=0.3, rungs_ms=(50,)) as first:
        until(lambda: first["retried"] == 1, "its time is over")
        with working(vhost_url, handle, timeout_s=30.0, rungs_ms=(50,)) as second:
            until(lambda: first["acked"] + second["acked"] == 1, "the second attempt is handled")
    assert attempts == [1, 2]


def test_a_drain_does_not_wait_for_a_handler_that_was_counted_out(vhost_url: str, gate: threading.Event) -> None:
    def block(_message: Message) -> None:
        gate.wait(60)

    declare(vhost_url, "q", queue_arguments("quorum"))
    put_raw(vhost_url, SLOW)
    with working(vhost_url, block, timeout_s=0.3, drain_timeout_s=60.0) as worker:
        until(lambda: worker["hung"] == 1 or worker["phase"] == "drained", "it is counted out")
        until(worker.diary.ended.is_set, "the worker ends while the handler goes on")
        assert worker.diary.last["killed"] == 0, "its message was settled"
        assert not gate.is_set()


def test_a_drain_does_not_wait_for_handlers_whose_event_loop_is_kept_by_one_that_was_counted_out(
    vhost_url: str, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limits, "CANCEL_S", 0.1)
    monkeypatch.setattr(loop_blocks, "_HUNG_S", 1.0)
    waiting: list[str | None] = []
    all_wait = asyncio.Event()

    async def wait(message: Message) -> None:
        if message.body == b"good":
            waiting.append(message.id)
            if len(waiting) == 5:
                all_wait.set()
            await asyncio.sleep(0.5)
            return
        await all_wait.wait()
        gate.wait(120)

    declare(vhost_url, "q", queue_arguments("quorum"))
    put_raw(vhost_url, *GOOD[:5], SLOW)
    settings = {"timeout_s": 1.0, "drain_timeout_s": 100.0, "concurrency": 6, "max_attempts": 1}
    with working(vhost_url, wait, **settings) as worker:
        until(lambda: worker["killed"] == 5, "the others are given up while one keeps the event loop", 40)
        assert worker["dead_lettered_attempts"] == 1
        assert not any(ATTEMPT in taken.headers for taken in take(vhost_url, "q", 5)), "none has used up an attempt"
        gate.set()  # an async close waits for the event loop
        until(worker.diary.ended.is_set, "the worker ends")
