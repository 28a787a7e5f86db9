"""What a worker keeps does not grow with what it has handled, nor with the time that passes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hermes_ray import Message
from hermes_ray.broker.connection import connect
from hermes_ray.broker.frames import publish_frames
from tests.support.deliveries import raw_of
from tests.support.ledger import declare
from tests.support.long_day import FASTER
from tests.support.patience import PATIENCE
from tests.support.workers import ROOT

FIRST_COUNT = 500_000
MOST_GROWTH_BYTES = 5_000_000
BATCH_COUNT = 1_000
MOST_READY_COUNT = 30_000
DAY_S = 86_400 / FASTER
DEADLINE_S = 1_800.0  # five minutes on a machine with nothing else to do


def handle(message: Message) -> None:
    if message.body == b"fails once" and message.attempt == 1:
        raise ValueError("once")
    if message.body == b"publishes":
        message.publish("other", b"{}")


async def handle_async(message: Message) -> None:
    handle(message)


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def batch_of(number: int) -> bytes:
    """``BATCH_COUNT`` messages for ``q`` on channel ``number``, of which one fails once and one publishes.

    Transient ones: the broker takes half as long over them.
    """
    bodies = [b"fails once", b"publishes", *[b"x" * 256] * (BATCH_COUNT - 2)]
    return b"".join([publish_frames(number, "q", raw_of(message_id="m"), body, len(body)) for body in bodies])


@pytest.mark.slow
@pytest.mark.timeout(DEADLINE_S)
@pytest.mark.parametrize(("handler", "message_count"), [("handle", 3_000_000), ("handle_async", 1_500_000)])
def test_millions_of_messages_in_a_day_leave_nothing_behind(vhost_url: str, handler: str, message_count: int) -> None:
    for queue in ("q", "other.q"):
        declare(vhost_url, queue, {"x-queue-type": "classic"})
    url = f"{vhost_url}?heartbeat=0&socket_timeout=9999&stack_timeout=9999"  # the broker has another clock
    words = [sys.executable, "-m", "tests.support.long_day", url, f"{__name__}:{handler}"]
    with (
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as worker,
        connect([vhost_url], name="tests/fill") as connection,
    ):
        try:
            channel = connection.channel()
            batch = batch_of(channel.channel_number)
            sent = ready = at_first = 0
            began_s = time.monotonic()
            while sent < message_count or ready or time.monotonic() < began_s + DAY_S:
                assert worker.poll() is None, worker.communicate()[0]
                if sent < message_count and ready < MOST_READY_COUNT:
                    connection._impl._output_marshaled_frames([batch])
                    sent += BATCH_COUNT
                else:
                    time.sleep(0.02)
                ready = channel.queue_declare("q", passive=True).method.message_count
                if not at_first and sent - ready > FIRST_COUNT:
                    at_first = resident_bytes(worker.pid)
            grown_bytes = resident_bytes(worker.pid) - at_first
            worker.send_signal(signal.SIGTERM)
            said = json.loads(worker.communicate(timeout=PATIENCE * 60)[0])
        finally:
            worker.kill()
    assert said["hours"] >= 24
    assert said["acked"] + said["retried"] >= message_count
    assert grown_bytes <= MOST_GROWTH_BYTES
