"""pika's BlockingConnection, an ack for each message; with the argument `send` it sends one."""

from __future__ import annotations

import os
import sys
from typing import Any

import pika

queue = os.environ["BENCH_QUEUE"]


def handle(channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
    channel.basic_ack(method.delivery_tag)


if __name__ == "__main__":
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_URL"]))
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    if sys.argv[1:] == ["send"]:
        properties = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", queue, os.environ["BENCH_BODY"].encode(), properties)
        connection.close()
    else:
        channel.basic_qos(prefetch_count=int(os.environ["BENCH_PREFETCH"]))
        channel.basic_consume(queue, handle)
        channel.start_consuming()
