"""The messages that handled deliveries leave behind, by what their queues are: retries, dead letters, publishes."""

from __future__ import annotations

import random
from dataclasses import replace

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.outgoing import Outgoing, attempt_of, dead_letter, fresh, retry
from hermes_ray.broker.properties import Properties
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.broker.topology import dead_queue, queue_arguments, wait_arguments, wait_queue
from hermes_ray.core.retry_rungs import retry_rung_ms
from hermes_ray.outcome import DeadLetter, Publish

__all__ = ["made_by_handler", "to_dead_queue", "to_wait_queue"]


def made_by_handler(spec: QueueSpec, publish: Publish) -> Outgoing:
    """What a handler has published; raises ``KeyError`` for a topic that ``spec`` has no route to."""
    is_reply = publish.topic is None
    queue = publish.reply_to if publish.topic is None else spec.routes[publish.topic]
    made = fresh(queue, publish.body, table=publish.table, id=publish.id, **publish.fields)
    return replace(made, may_be_lost=is_reply)


def to_wait_queue(spec: QueueSpec, delivery: Delivery) -> Outgoing:
    """The next attempt of ``delivery``."""
    delay_ms = retry_rung_ms(spec.rungs_ms, attempt_of(Properties(delivery.raw)), random.choice)
    return retry(
        delivery,
        queue=wait_queue(spec.queue, delay_ms),
        delay_ms=delay_ms,
        declare=wait_arguments(spec.queue, spec.queue_type, delay_ms) if spec.declare else None,
    )


def to_dead_queue(spec: QueueSpec, delivery: Delivery, letter: DeadLetter) -> Outgoing:
    """``delivery`` and why it cannot be handled."""
    return dead_letter(
        delivery,
        queue=dead_queue(spec.queue),
        topic=spec.topic,
        letter=letter,
        declare=queue_arguments(spec.queue_type) if spec.declare else None,
    )
