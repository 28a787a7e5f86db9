"""Every knob there is: its type, default, unit, meaning and allowed range, declared once.

The same declarations give validation, the sentences of mistakes, ``hermes config --schema`` and what a change takes;
``loading`` reads files and command lines into them.
"""
# ruff: noqa: RUF009 - the calls in the class bodies return a new dataclasses.field each

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from hermes_ray.config.bindings import BindingConfig
from hermes_ray.config.knobs import Knob, Takes, amount, choice, declare, knob, number, section, size, text
from hermes_ray.config.names import (
    DEPLOYMENT_NAME,
    MAX_DEPLOYMENT_CHARACTERS,
    MAX_QUEUE_BYTES,
    NAME_WORDS,
    is_queue_name,
)
from hermes_ray.config.queue_arguments import ArgumentValue, schema
from hermes_ray.config.tls import TlsConfig
from hermes_ray.config.urls import is_host, with_parameters
from hermes_ray.core.model import ThresholdRule

__all__ = ["BrokerConfig", "Config", "DeploymentConfig", "MetricsConfig", "RetryConfig", "ScalingConfig"]
__all__ += [
    "ThresholdConfig",
    "TopicConfig",
    "WorkerConfig",
    "WorkersConfig",
    "knob",
]

DEFAULT_URL = "amqp://guest:guest@127.0.0.1:5672/%2F"

DAY_S = 86_400.0
ACK_LIMIT_RATIO = 0.9  # of the broker's time for a settlement: it looks once a minute, and to settle takes a while


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentConfig:
    """What tells this deployment from others on the cluster and at the broker."""

    name: str = text(
        "hermes",
        DEPLOYMENT_NAME,
        f"1 to {MAX_DEPLOYMENT_CHARACTERS} {NAME_WORDS}",
        "The deployment's name and its Ray namespace.",
        takes=Takes.ANOTHER,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """Where RabbitMQ is: ``url`` is one AMQP URL or a list of them; checked while loading."""

    url: Any = declare(
        "${oc.env:HERMES_BROKER_URL,'" + DEFAULT_URL + "'}",
        Knob(
            meaning="The broker: an AMQP URL, or a list of them, the nodes of one cluster.",
            allowed="amqp://USER:PASSWORD@HOST:PORT/VHOST, amqps://... or a list of these",
            secret=True,
            takes=Takes.ROLLING,
        ),
    )
    tls: TlsConfig = section(TlsConfig, "TLS, for amqps:// URLs.")
    decoder: str = choice("direct", ("direct", "pika"), "Who cuts messages from the wire.", takes=Takes.ROLLING)
    ack_timeout_s: float | None = number(
        1800.0,
        5,
        365 * DAY_S,
        "s",
        "The broker's consumer_timeout: it takes back what is not settled within; null: it waits for ever.",
        takes=Takes.ROLLING,
    )

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs in the order to try them, at least one once loaded, each with what ``tls`` says as parameters."""
        urls = (self.url,) if isinstance(self.url, str) else self.url
        return tuple(with_parameters(url, self.tls.parameters) for url in urls)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsConfig:
    """Where the scaler serves Prometheus metrics."""

    host: str = declare(
        "127.0.0.1",
        Knob(
            meaning="The address of /metrics and /healthz.",
            allowed="a host name or address",
            accepts=is_host,
            schema={"pattern": r"^[^\s./]+(?:\.[^\s./]+)*\.?$"},
        ),
    )
    port: int = number(
        9464, 0, 65535, "", "Their port; where it is taken there are none, and status says so. 0 is off."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersConfig:
    """How many workers a topic may have."""

    min: int = number(0, 0, 100_000, "workers", "Workers kept even without messages; 0 scales to zero.")
    max: int = number(10, 0, 100_000, "workers", "Workers the topic never exceeds.")
    roll_surge: float = number(
        0.25,
        0,
        1,
        "ratio",
        "Workers a roll-out may start beyond the target, as a part of it; at least one.",
        above=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """One worker: one process, one Ray actor. ``memory`` is in bytes."""

    concurrency: int | None = number(
        None,
        1,
        10_000,
        "slots",
        "Messages handled at once by one worker, prefetch at most; null is 32 for async handlers, 4 for sync.",
        takes=Takes.ROLLING,
    )
    prefetch: int | None = number(
        None,
        1,
        65_535,
        "messages",
        "Messages one worker holds, handled ones included; null derives it from the service time.",
        takes=Takes.ROLLING,
    )
    prefetch_bytes: int = size(64 * 2**20, "Bytes of messages one worker holds, about.", takes=Takes.ROLLING)
    timeout_s: float | None = number(
        None,
        0.01,
        365 * DAY_S,
        "s",
        "How long a handler may take for a message; then it is cancelled, and the attempt used up; null: any time.",
        takes=Takes.ROLLING,
    )
    num_cpus: float = amount(0.25, 1024, "CPUs", "CPUs Ray reserves for one worker.", takes=Takes.ROLLING)
    memory: int | None = size(None, "Memory Ray reserves for one worker; null reserves none.", takes=Takes.ROLLING)
    resources: dict[str, float] = amount(
        dict,
        1_000_000,
        "",
        "Other Ray resources of one worker, by name: GPU, node:IP, a custom one; an amount each.",
        takes=Takes.ROLLING,
    )
    # The order to drain carries its time-out: a living worker's own counts only where something else ends it.
    drain_timeout_s: float = number(
        900.0, 0, 7 * DAY_S, "s", "How long a scale-in or a roll-out lets running handlers finish."
    )
    silent_timeout_s: float = number(
        900.0, 1, 7 * DAY_S, "s", "How long a worker may be silent before it is killed; replaced after 60 s."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """What happens to a message whose handler raised."""

    max_attempts: int = number(5, 1, 1000, "tries", "Tries of one message, the first one included.")
    base_delay_s: float = number(1.0, 0.01, DAY_S, "s", "The delay before the second try; it doubles with each.")
    max_delay_s: float = number(1800.0, 0.01, DAY_S, "s", "The longest delay before a try.")


_RULE = ThresholdRule()


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdConfig:
    """Go Hermes' rule, used with ``policy: threshold``; field by field ``core.model.ThresholdRule``."""

    up_ready_count: int = number(_RULE.up_ready_count, 0, 10**12, "messages", "More ready messages than this: grow.")
    down_ready_count: int = number(
        _RULE.down_ready_count, 0, 10**12, "messages", "Fewer ready messages than this: shrink."
    )
    up_ratio: float = number(_RULE.up_ratio, 0, 100, "ratio", "The part of the workers added in one step.")
    down_ratio: float = number(_RULE.down_ratio, 0, 1, "ratio", "The part of the workers removed in one step.")
    interval_s: float = number(_RULE.interval_s, 0.1, DAY_S, "s", "The time between two checks.")
    cooldown_s: float = number(_RULE.cooldown_s, 0, DAY_S, "s", "The pause after a step.")
    min_step: int = number(_RULE.min_step, 1, 100_000, "workers", "The smallest step.")
    max_step: int = number(_RULE.max_step, 1, 100_000, "workers", "The largest step.")
    up_checks: int = number(_RULE.up_checks, 1, 1000, "checks", "Checks in a row above the mark before growing.")
    down_checks: int = number(_RULE.down_checks, 1, 1000, "checks", "Checks in a row below the mark before shrinking.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingConfig:
    """Who decides on the number of workers."""

    policy: str = choice(
        "adaptive",
        ("adaptive", "threshold", "fixed"),
        "How workers are counted: adaptive follows the latency objective, threshold is Go Hermes' rule, fixed keeps "
        "workers.max.",
    )
    threshold: ThresholdConfig = section(ThresholdConfig, "The rule of policy threshold.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicConfig:
    """One topic: one queue, one handler, one objective. ``queue`` is the topic's name once loaded, unless set."""

    handler: str = text(
        dataclasses.MISSING,
        r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*",
        "package.module:name",
        "The function, async function or class that handles a message.",
        takes=Takes.ROLLING,
    )
    options: dict[str, Any] = declare(
        dict,
        Knob(
            meaning="Keyword arguments of a class handler; secrets by ${oc.env:NAME}.",
            secret=True,
            takes=Takes.ROLLING,
        ),
    )
    queue: str | None = declare(
        None,
        Knob(
            meaning="The queue; null is the topic's name.",
            allowed=f"a name of 1 to {MAX_QUEUE_BYTES} bytes without control characters, not starting with amq.",
            accepts=is_queue_name,
            schema={"minLength": 1, "maxLength": MAX_QUEUE_BYTES, "pattern": r"^(?!amq\.)"},
            takes=Takes.TOPOLOGY,
        ),
    )
    queue_type: str = choice("quorum", ("quorum", "classic"), "The type of queues declared.", takes=Takes.TOPOLOGY)
    queue_arguments: dict[str, ArgumentValue] = declare(
        dict,
        Knob(
            meaning="Arguments of the queue beside ours, such as x-max-length.", schema=schema(), takes=Takes.TOPOLOGY
        ),
    )
    bindings: list[BindingConfig] = declare(
        list,
        Knob(
            meaning="What the queue is bound to: exchange, routing_key, exchange_type, arguments.",
            takes=Takes.TOPOLOGY,
        ),
    )
    topology: str = choice(
        "declare",
        ("declare", "existing", "passive"),
        "Which queues are declared: all, those for retries and dead letters alone, or none.",
        takes=Takes.TOPOLOGY,
    )
    weight: float = number(
        1.0, 0, math.inf, "", "The priority when the cluster is full: heavier goes first.", above=True
    )
    latency_objective_s: float = number(30.0, 0.001, 7 * DAY_S, "s", "The time a message may take, publish to settle.")
    latency_objective_ratio: float = number(
        0.99, 0, 1, "ratio", "The part of the messages that should meet it; not read yet.", above=True, below=True
    )
    workers: WorkersConfig = section(WorkersConfig, "How many workers.")
    worker: WorkerConfig = section(WorkerConfig, "What one worker is.")
    retry: RetryConfig = section(RetryConfig, "What happens when a handler raises.")
    scaling: ScalingConfig = section(ScalingConfig, "Who decides on the number of workers.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole deployment."""

    deployment: DeploymentConfig = section(DeploymentConfig, "The deployment.")
    broker: BrokerConfig = section(BrokerConfig, "RabbitMQ.")
    drain_timeout_s: float = number(30.0, 0, DAY_S, "s", "How long stopping lets running handlers finish.")
    state_dir: str = text(
        "${oc.env:XDG_STATE_HOME,'~/.local/state'}/hermes_ray",
        r"[/~][^\x00]*",
        "the absolute path of a directory, or one from ~",
        "Where the scaler keeps what it knows, on the node it runs on.",
    )
    forget_after_s: float = number(
        30 * DAY_S, 0, 3650 * DAY_S, "s", "How long what is known of a topic that was left out is kept."
    )
    metrics: MetricsConfig = section(MetricsConfig, "Prometheus metrics.")
    topics: dict[str, TopicConfig] = declare(dict, Knob(meaning="The topics by name.", takes=Takes.ANOTHER))

    def queue_of(self, topic: str) -> str:
        """The queue of ``topic``; of its name where none is set, as in topics that were not loaded."""
        return self.topics[topic].queue or topic
