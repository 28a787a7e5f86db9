"""FastStream: consumes; with the argument `send` it sends one message."""

from __future__ import annotations

import asyncio
import os
import sys

from faststream import FastStream  # type: ignore[import-not-found]
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue  # type: ignore[import-not-found]

queue = RabbitQueue(os.environ["BENCH_QUEUE"], durable=True)
broker = RabbitBroker(
    os.environ["BENCH_URL"],
    default_channel=Channel(prefetch_count=int(os.environ["BENCH_PREFETCH"])),
    logger=None,  # else a line or two for each message
)


async def handle(_body: bytes) -> None:
    return None


async def send() -> None:
    async with broker:
        await broker.declare_queue(queue)
        await broker.publish(os.environ["BENCH_BODY"].encode(), queue.name, persist=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["send"]:
        asyncio.run(send())
    else:
        broker.subscriber(queue)(handle)
        asyncio.run(FastStream(broker, logger=None).run())
