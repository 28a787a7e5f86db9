"""What tests publish, what handlers saw of it, and what is left in a queue: the books that must balance."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from hermes_ray import Message
from hermes_ray.broker.connection import connect
from hermes_ray.broker.link import IoThread
from hermes_ray.broker.outgoing import Outgoing, fresh
from hermes_ray.broker.publisher import Answer, Publisher
from tests.support.patience import PATIENCE, deadline_s


def until(true: Callable[[], Any], what: str, within_s: float = 20.0) -> None:
    """Return once ``true()``; fail the test after ``within_s``, with patience."""
    give_up_s = deadline_s(within_s)
    while not true():
        assert time.monotonic() < give_up_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.01)


class Ledger:
    """What handlers saw, a line of a file each, so that every process can add to it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def note(self, message: Message) -> None:
        """Write down that ``message`` was handled."""
        os.write(self._file, f"{message.id} {message.attempt}\n".encode())

    def handled(self) -> Counter[str]:
        """How often each id was handled."""
        return Counter(line.split()[0] for line in self._lines())

    def attempts(self) -> set[int]:
        """The attempts handlers were told of."""
        return {int(line.split()[1]) for line in self._lines()}

    def _lines(self) -> list[str]:
        return os.pread(self._file, os.fstat(self._file).st_size, 0).decode().splitlines()


class Sender:
    """A publisher in an I/O thread of its own that remembers every answer."""

    def __init__(self, url: str, name: str = "tests/sender") -> None:
        self.crashed = threading.Event()
        self.answers: list[tuple[str, Answer]] = []
        self._io = IoThread("sender", self.crashed.set)
        self._publisher = Publisher(self._io.loop, [url], name=name)
        self._sent_count = 0
        self._io.start()

    def send(self, messages: Iterable[Outgoing]) -> int:
        """Publish all in one go; returns how many had no answer right after."""
        pending: list[int] = []
        sent = threading.Event()

        def publish() -> None:
            for message in messages:
                self._publisher.publish(message, partial(self._note, message.properties.get("message_id")))
                self._sent_count += 1
            pending.append(self._sent_count - len(self.answers))
            sent.set()

        self._io.call(publish)
        assert sent.wait(PATIENCE * 20), "the I/O thread does not answer"
        return pending[0]

    def ids(self, answer: Answer) -> list[str]:
        """The ids that got ``answer``, in the order of the answers."""
        return [id for id, given in list(self.answers) if given is answer]

    @property
    def wait_rungs_ms(self) -> frozenset[int]:
        """The delays whose wait queue has taken a message."""
        return self._publisher.wait_rungs_ms

    def close(self) -> None:
        """Close the connection and end the thread."""
        closed = threading.Event()
        self._io.call(lambda: self._publisher.close(closed.set))
        closed.wait(5)
        self._io.stop()

    def _note(self, id: str, answer: Answer, _words: str) -> None:
        self.answers.append((id, answer))


@contextmanager
def sending(url: str) -> Iterator[Sender]:
    """A ``Sender`` that is closed at the end."""
    sender = Sender(url)
    try:
        yield sender
    finally:
        sender.close()
    assert not sender.crashed.is_set()


def publish(url: str, count: int, *, queue: str = "q", body: bytes = b"{}") -> list[str]:
    """Publish ``count`` messages and wait for their confirms; returns the ids in publish order."""
    messages = [fresh(queue, body) for _ in range(count)]
    with sending(url) as sender:
        sender.send(messages)
        until(lambda: len(sender.ids(Answer.CONFIRMED)) == count, f"{count} confirms of {len(sender.answers)} answers")
    return [message.properties.get("message_id") for message in messages]


@contextmanager
def channel_to(url: str) -> Iterator[BlockingChannel]:
    """A plain channel with confirms: a client that knows nothing of us."""
    connection = connect([url], name="tests/channel")
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel
    finally:
        if connection.is_open:
            connection.close()


def put(url: str, body: bytes, properties: pika.BasicProperties, queue: str = "q") -> None:
    """Publish as a client would that knows nothing of us."""
    with channel_to(url) as channel:
        channel.basic_publish("", queue, body, properties, mandatory=True)


def declare(url: str, queue: str, arguments: dict[str, Any]) -> None:
    """Declare a durable queue."""
    with channel_to(url) as channel:
        channel.queue_declare(queue, durable=True, arguments=arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One message taken off a queue by a plain client."""

    body: bytes
    properties: pika.BasicProperties

    @property
    def id(self) -> str:
        id: str = self.properties.message_id
        return id

    @property
    def headers(self) -> dict[str, Any]:
        return dict(self.properties.headers or {})


def ready_count(url: str, queue: str = "q") -> int:
    """Messages ready in ``queue``."""
    with channel_to(url) as channel:
        count: int = channel.queue_declare(queue, passive=True).method.message_count
        return count


def queue_exists(url: str, queue: str) -> bool:
    """Whether there is such a queue."""
    try:
        ready_count(url, queue)
    except pika.exceptions.ChannelClosedByBroker:
        return False
    return True


def take(url: str, queue: str, count: int = 1, within_s: float = 20.0) -> list[Taken]:
    """Take exactly ``count`` messages off ``queue``, in order, waiting for the queue and for them."""
    until(lambda: queue_exists(url, queue), f"queue {queue}", within_s)
    taken: list[Taken] = []
    with channel_to(url) as channel:
        for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=within_s):
            assert method is not None, f"only {len(taken)} of {count} messages in {queue}"
            taken.append(Taken(body=body, properties=properties))
            if len(taken) == count:
                break
        assert channel.cancel() == 0, f"more than {count} messages in {queue}"
    return taken
