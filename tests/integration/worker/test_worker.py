"""A worker's life: handlers that take long, drains in every state, and the end."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.broker.outgoing import ATTEMPT, fresh
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.publisher import Answer
from hermes_ray.broker.topology import queue_arguments
from hermes_ray.worker.time_limits import Hung
from tests.support.ledger import Ledger, declare, publish, queue_exists, ready_count, sending, take, until
from tests.support.params import slow
from tests.support.patience import PATIENCE
from tests.support.rabbitmqctl import ctl
from tests.support.workers import Gate, Started, Working, working

Handle = Callable[[Message], Awaitable[None] | None]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    """Handlers in threads, or in the event loop."""
    kind: str = request.param
    return kind


@pytest.fixture
def start(vhost_url: str, tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts workers in processes of their own, and kills at the end what still runs."""
    with ExitStack() as stack:

        def start(name: str, handler: str, **settings: Any) -> Started:
            worker = Started(
                tmp_path / name, vhost_url, f"tests.support.workers:{handler}", queue=f"{name}.q", **settings
            )
            stack.callback(worker.end)
            return worker

        yield start


def handle_of(gate: Gate, kind: str) -> Handle:
    return gate.handle_async if kind == "async" else gate.handle


@pytest.mark.parametrize(
    ("seconds", "heartbeat_s"),
    [(30, 5), slow(180, 10)],
)
def test_a_long_handler_under_a_short_heartbeat_neither_reconnects_nor_runs_twice(
    start: Callable[..., Started], vhost_url: str, seconds: int, heartbeat_s: int
) -> None:
    ways = {"sleeps": ("Slow", "sleep"), "spins": ("Slow", "spin"), "blocks": ("SlowAsync", "sleep")}
    workers = {
        name: start(name, handler, heartbeat_s=heartbeat_s, options={"seconds": seconds, "way": way})
        for name, (handler, way) in ways.items()
    }
    for worker in workers.values():
        until(partial(worker.says, "phase", "consuming"), "it consumes")
    ids = {name: publish(vhost_url, 1, queue=f"{name}.q") for name in workers}
    for name, worker in workers.items():
        until(partial(worker.says, "acked", 1), f"the one that {name}", seconds + 20)
        assert worker.ledger.handled() == {ids[name][0]: 1}
        assert worker.last()["reconnects"] == 0
        assert worker.last()["received"] == 1


def test_a_worker_is_heard_of_before_a_first_handler_that_keeps_the_interpreter_from_everybody(
    start: Callable[..., Started], vhost_url: str
) -> None:
    declare(vhost_url, "lock.q", queue_arguments("quorum"))
    publish(vhost_url, 1, queue="lock.q")
    worker = start("lock", "Slow", concurrency=1, options={"seconds": 6, "way": "lock"})
    until(worker.last, "it has said something")
    assert worker.last()["first_phase"] == "connecting"
    assert worker.last()["acked"] == 0, "its first handler keeps the interpreter for 6 s"
    until(partial(worker.says, "acked", 1), "it is through", 60)


@pytest.mark.parametrize("drains", [10, slow(50)])
def test_drains_in_turn_under_load_lose_nothing_and_use_no_attempt(
    vhost_url: str, ledger: Ledger, kind: str, drains: int
) -> None:
    def handle(message: Message) -> None:
        time.sleep(0.004)
        ledger.note(message)

    async def handle_async(message: Message) -> None:
        await asyncio.sleep(0.004)
        ledger.note(message)

    def hire() -> Working:
        handler: Handle = handle_async if kind == "async" else handle
        return stack.enter_context(working(vhost_url, handler, concurrency=4, prefetch=200))

    def is_at_work(worker: Working) -> bool:
        return worker["received"] > worker["acked"] > 50

    messages = [fresh("q", b"{}") for _ in range(400 * drains)]
    with ExitStack() as stack, sending(vhost_url) as sender:
        old = hire()
        feeding = threading.Thread(target=feed, args=(sender.send, messages, 40 * drains))
        feeding.start()
        given_back = 0
        for _ in range(drains):
            until(partial(is_at_work, old), "it is in the middle of its work")
            new = hire()
            old.drain()
            assert old.diary.last["held"] == old.diary.last["killed"] == 0
            given_back += old.diary.last["given_back"]
            old = new
        feeding.join()
        until(lambda: len(sender.ids(Answer.CONFIRMED)) == len(messages), "all are confirmed")
        until(lambda: len(ledger.handled()) == len(messages), "all are handled", 60)
        until(lambda: old["held"] == 0, "all are settled")
    assert ledger.handled() == dict.fromkeys(sender.ids(Answer.CONFIRMED), 1)
    assert ledger.attempts() == {1}
    assert given_back > 0
    assert ready_count(vhost_url) == 0
    assert not queue_exists(vhost_url, "q.wait.100")


def feed(send: Callable[[list[Any]], int], messages: list[Any], batches: int) -> None:
    """Send ``messages`` in ``batches`` 5 ms apart."""
    size = len(messages) // batches
    for start in range(0, len(messages), size):
        send(messages[start : start + size])
        time.sleep(0.005)


def test_a_drain_gives_back_what_waits_and_finishes_what_runs(vhost_url: str, ledger: Ledger, kind: str) -> None:
    gate = Gate(ledger)
    with working(vhost_url, handle_of(gate, kind), concurrency=2, prefetch=20) as worker:
        ids = publish(vhost_url, 30, body=b"held")
        until(lambda: worker["held"] == 20 and worker["running"] == 2, "two run and eighteen wait")

        worker.worker.drain(30)
        until(lambda: ready_count(vhost_url) == 28, "all but the running two are back")
        assert worker["phase"] == "draining"
        assert worker["running"] == 2
        assert not worker.diary.ended.is_set()

        gate.open()
        until(worker.diary.ended.is_set, "it ends")
        assert worker.diary.last["phase"] == "drained"
        assert (worker.diary.last["acked"], worker.diary.last["given_back"]) == (2, 18)

    assert ledger.handled() == dict.fromkeys(gate.entered, 1)
    left = take(vhost_url, "q", 28)
    assert {taken.id for taken in left} == set(ids) - set(gate.entered)
    assert not any(ATTEMPT in taken.headers for taken in left)


def test_a_drain_out_of_time_hands_the_running_message_back_with_no_attempt_used(
    vhost_url: str, ledger: Ledger, kind: str
) -> None:
    gate = Gate(ledger)
    with working(vhost_url, handle_of(gate, kind), concurrency=2) as worker:
        ids = publish(vhost_url, 2, body=b"held")
        until(lambda: worker["running"] == 2, "both run")
        started_s = time.monotonic()
        worker.drain(0.5)
        assert time.monotonic() - started_s < 5
        assert worker.diary.last["killed"] == 2
        gate.open()
        until(lambda: len(ledger.handled()) == 2, "a handler that ends too late disturbs nobody")
    left = take(vhost_url, "q", 2)
    assert {taken.id for taken in left} == set(ids)
    assert not any(ATTEMPT in taken.headers for taken in left)


def test_a_drain_waits_for_the_retry_of_what_failed_last(vhost_url: str) -> None:
    release = threading.Event()

    def handle(_message: Message) -> None:
        assert release.wait(PATIENCE * 20)
        raise RuntimeError("away")

    with working(vhost_url, handle, rungs_ms=(60_000,)) as worker:
        publish(vhost_url, 1)
        until(lambda: worker["running"] == 1, "it runs")
        worker.worker.drain(20)
        release.set()
        until(worker.diary.ended.is_set, "it ends")
        assert worker.diary.last["retried"] == 1
    assert take(vhost_url, "q.wait.60000")[0].headers[ATTEMPT] == 2
    assert ready_count(vhost_url) == 0


def test_a_worker_without_a_broker_drains_at_once(broker: LocalBroker, ledger: Ledger) -> None:
    ctl(broker, "add_vhost", "short-lived")
    ctl(broker, "set_permissions", "--vhost", "short-lived", "guest", ".*", ".*", ".*")
    gate = Gate(ledger)
    with working(broker.url("short-lived"), gate.handle) as worker:
        publish(broker.url("short-lived"), 1, body=b"held")
        until(lambda: worker["running"] == 1, "it runs")
        ctl(broker, "delete_vhost", "short-lived")
        until(lambda: worker["reconnects"] >= 2, "it finds no broker")
        assert worker["phase"] == "connecting"

        started_s = time.monotonic()
        worker.worker.drain(30)
        until(lambda: worker["phase"] == "draining", "it drains")
        gate.open()
        until(worker.diary.ended.is_set, "it ends")
        assert time.monotonic() - started_s < 5
        assert worker.diary.last["killed"] == 0


def test_a_drained_worker_closes_its_handler(vhost_url: str, ledger: Ledger, kind: str) -> None:
    gate = Gate(ledger)
    with working(vhost_url, handle_of(gate, kind)) as worker:
        publish(vhost_url, 3)
        until(lambda: worker["acked"] == 3, "it is at work")
        assert gate.closed_in is None
        worker.drain()
    assert gate.closed_in == ("slots" if kind == "async" else "close handler")


def test_sigterm_drains(start: Callable[..., Started], vhost_url: str, tmp_path: Path) -> None:
    worker = start("terminated", "Slow", concurrency=2, prefetch=10, options={"seconds": 1})
    until(partial(worker.says, "phase", "consuming"), "it consumes")
    ids = publish(vhost_url, 10, queue="terminated.q")
    until(lambda: worker.last().get("running") == 2, "two run")

    worker.process.send_signal(signal.SIGTERM)

    assert worker.process.wait(PATIENCE * 20) == 0
    last = worker.last()
    assert (last["phase"], last["held"], last["killed"]) == ("drained", 0, 0)
    handled = worker.ledger.handled()
    assert len(handled) == last["acked"] >= 2
    left = take(vhost_url, "terminated.q", 10 - len(handled))
    assert {taken.id for taken in left} | set(handled) == set(ids)
    assert not any(ATTEMPT in taken.headers for taken in left)
    assert (tmp_path / "terminated" / "ledger.closed").exists()


def test_sigterm_while_the_handler_is_built_drains_once_it_is(start: Callable[..., Started]) -> None:
    worker = start("early", "Terminated")
    assert worker.process.wait(PATIENCE * 60) == 0
    assert worker.last()["phase"] == "drained"


def test_a_worker_that_can_start_no_further_thread_drains(
    vhost_url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with working(vhost_url, ledger.note) as worker:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        worker.drain()
        monkeypatch.undo()
        assert worker["phase"] == "drained"


def test_a_report_that_cannot_be_made_is_skipped_said_once_and_the_next_one_is_made(
    vhost_url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[float] = []

    def fail(now_s: float) -> Hung:
        tries.append(now_s)
        raise RuntimeError("changed while it was read")

    with working(vhost_url, Gate(ledger).handle) as worker:
        with monkeypatch.context() as patched:
            patched.setattr(worker.worker._limits, "hung", fail)
            until(lambda: len(tries) > 3, "it was tried more than once")
        publish(vhost_url, 1)
        until(lambda: worker.diary.last["acked"] == 1, "reports go on")
    until(lambda: [line for line in caplog.messages if "a report failed" in line], "it is said")
    assert len([line for line in caplog.messages if "a report failed" in line]) == 1


def test_a_drain_ends_whatever_fails_on_its_way(
    vhost_url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no more threads")

    gate = Gate(ledger)
    with working(vhost_url, gate.handle) as worker:
        monkeypatch.setattr(worker.worker._consumer, "stop_consuming", fail)
        monkeypatch.setattr(worker.diary, "report", fail)
        worker.drain()
    assert gate.closed_in == "close handler", "what did not fail was done"
