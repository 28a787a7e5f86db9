"""The clients' queues: one message that a client made itself, copied as often as a round needs it."""

from __future__ import annotations

import subprocess
import time

from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import BasicProperties

from benchmarks.peers.clients import APPS, BODY, Client, environment
from hermes_ray.broker.frames import publish_frames
from hermes_ray.broker.outgoing import fresh

__all__ = ["fill", "message_of", "ready_count"]

_AT_ONCE = 1_000
_FRAMES: dict[str, bytes] = {}  # by queue


def message_of(channel: BlockingChannel, client: Client, url: str) -> None:
    """Have ``client`` send one message, to copy; plain ones get one of ours."""
    queue = client.queue
    if client.sends is None:
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "classic"})
        raw, body = fresh(queue, BODY.encode()).properties.raw, BODY.encode()
    else:
        subprocess.run(client.sends, cwd=APPS, env=environment(client, url), check=True)
        properties, body = _get(channel, queue)
        raw = b"".join(properties.encode())
    _FRAMES[queue] = publish_frames(channel.channel_number, queue, raw, body, len(body))


def _get(channel: BlockingChannel, queue: str) -> tuple[BasicProperties, bytes]:
    deadline_s = time.monotonic() + 10.0
    while time.monotonic() < deadline_s:
        _method, properties, body = channel.basic_get(queue, auto_ack=True)
        if properties is not None:
            return properties, body
    raise TimeoutError(f"no message came into {queue}")


def fill(channel: BlockingChannel, queue: str, count: int) -> None:
    """``count`` copies in ``queue``, and nothing else."""
    channel.queue_purge(queue)
    sent = 0
    while sent < count:
        share = min(_AT_ONCE, count - sent)
        channel.connection._impl._output_marshaled_frames([_FRAMES[queue] * share])
        sent += share
        channel.basic_qos(prefetch_count=1)  # answered after them
    while ready_count(channel, queue) < count:
        time.sleep(0.05)


def ready_count(channel: BlockingChannel, queue: str) -> int:
    """Messages that no client has got yet."""
    count: int = channel.queue_declare(queue, passive=True).method.message_count
    return count
