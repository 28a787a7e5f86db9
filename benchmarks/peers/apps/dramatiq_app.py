"""Dramatiq: `dramatiq dramatiq_app`; run as a script it sends one message."""

from __future__ import annotations

import os

import dramatiq  # type: ignore[import-not-found]
from dramatiq.brokers.rabbitmq import RabbitmqBroker  # type: ignore[import-not-found]

dramatiq.set_broker(RabbitmqBroker(url=os.environ["BENCH_URL"]))


def handle(_body: str) -> None:
    return None


actor = dramatiq.actor(handle, queue_name=os.environ["BENCH_QUEUE"])

if __name__ == "__main__":
    actor.send(os.environ["BENCH_BODY"])
