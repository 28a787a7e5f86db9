"""Taskiq: `taskiq worker taskiq_app:broker`; run as a script it sends one task."""

from __future__ import annotations

import asyncio
import os

from taskiq_aio_pika import AioPikaBroker, Queue, QueueType  # type: ignore[import-not-found]

broker = AioPikaBroker(os.environ["BENCH_URL"], qos=int(os.environ["BENCH_PREFETCH"])).with_queue(
    Queue(name=os.environ["BENCH_QUEUE"], type=QueueType.CLASSIC)
)


async def handle(_body: str) -> None:
    return None


task = broker.register_task(handle, task_name="handle")


async def send() -> None:
    await broker.startup()
    await task.kiq(os.environ["BENCH_BODY"])
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(send())
