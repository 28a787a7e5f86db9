"""What a worker shares with the children that handlers fork, and with all else in its process."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from hermes_ray import Message
from tests.support.ledger import publish, ready_count, until
from tests.support.patience import PATIENCE
from tests.support.workers import Started, working


@pytest.fixture
def start(vhost_url: str, tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts workers in processes of their own."""
    workers: list[Started] = []

    def start(handler: str, **settings: object) -> Started:
        workers.append(Started(tmp_path / "worker", vhost_url, f"{__name__}:{handler}", **settings))
        until(partial(workers[-1].says, "phase", "consuming"), "it consumes", 60)
        return workers[-1]

    yield start
    for worker in workers:
        worker.end()


class Forks:
    """Leaves a child that lives on, and is not done itself."""

    def __init__(self, ledger: str) -> None:
        self.child = Path(f"{ledger}.child")

    def __call__(self, message: Message) -> None:
        child = os.fork()
        if not child:
            signal.pause()
        self.child.write_text(str(child))
        signal.pause()


class RunsALoop:
    """Has run an event loop with a signal handler of its own while it was built, as clients of databases do."""

    def __init__(self, ledger: str) -> None:
        import asyncio

        async def begin() -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, print)

        asyncio.run(begin())

    def __call__(self, message: Message) -> None:
        pass


def test_a_child_that_a_handler_has_left_keeps_no_message_of_a_worker_that_was_killed(
    start: Callable[..., Started], vhost_url: str
) -> None:
    """The heartbeat, of a minute, would find out after two."""
    worker = start("Forks")
    publish(vhost_url, 1)
    child = worker.report.with_name("ledger.child")
    until(lambda: child.exists() and child.read_text(), "it has forked")
    try:
        worker.end()
        until(lambda: ready_count(vhost_url) == 1, "the message is back")
    finally:
        os.kill(int(child.read_text()), signal.SIGKILL)


def test_sigterm_drains_also_where_the_handler_has_run_an_event_loop(start: Callable[..., Started]) -> None:
    worker = start("RunsALoop")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(PATIENCE * 20) == 0
    assert worker.last()["phase"] == "drained"


def test_a_worker_that_may_open_no_more_files_connects_again_once_it_may(vhost_url: str) -> None:
    """Whether it may is not known before: others of the process open files meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with working(vhost_url, lambda _message: None) as worker:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            worker.cut()
            until(lambda: "Too many open files" in (worker["lost_reason"] or ""), "it is said")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        publish(vhost_url, 1)
        until(lambda: worker["acked"] == 1, "it is at work again")


def test_a_worker_that_can_start_no_thread_connects_again_once_it_can(
    vhost_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking up the broker's address takes one."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with working(vhost_url, lambda _message: None) as worker:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            worker.cut()
            until(lambda: "can't start new thread" in (worker["lost_reason"] or ""), "it is said")
        publish(vhost_url, 1)
        until(lambda: worker["acked"] == 1, "it is at work again")
