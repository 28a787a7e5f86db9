"""Every knob there is: its type, default, unit, meaning and allowed range, declared once.

The same declarations give validation, the sentences of mistakes and ``hermes config --schema``; ``config.py`` reads
files and command lines into them.
"""
# ruff: noqa: RUF009 - the calls in the class bodies return a new dataclasses.field each

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hermes_ray.core.model import Bundle, ThresholdRule, TopicParams

__all__ = ["BrokerConfig", "Config", "DeploymentConfig", "Knob", "MetricsConfig", "RetryConfig", "ScalingConfig"]
__all__ += ["ThresholdConfig", "TopicConfig", "WorkerConfig", "WorkersConfig", "knob", "topic_params", "worker_bundle"]

DEFAULT_URL = "amqp://guest:guest@127.0.0.1:5672/%2F"

DAY_S = 86_400.0
SMALLEST_AMOUNT = 0.0001


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """What one key means: ``unit`` ("" for none), one sentence of ``meaning``, and its check.

    ``allowed`` says in words what ``accepts`` takes; ``secret`` values are never repeated in a message.
    """

    meaning: str
    unit: str = ""
    allowed: str = ""
    accepts: Callable[[Any], bool] | None = None
    secret: bool = False


def _knob(default: Any, knob: Knob) -> Any:
    metadata = {"knob": knob}
    if default is dataclasses.MISSING:
        return field(metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def _number(default: Any, low: float, high: float, unit: str, meaning: str) -> Any:
    """A number from ``low`` to ``high``, both included."""

    def accepts(value: float) -> bool:
        return low <= value <= high

    return _knob(default, Knob(meaning=meaning, unit=unit, allowed=f"{low:.15g} to {high:.15g}", accepts=accepts))


def _between(default: float, low: float, high: float, unit: str, meaning: str) -> Any:
    """A number above ``low`` and below ``high``."""

    def accepts(value: float) -> bool:
        return low < value < high

    limit = "" if math.isinf(high) else f" and below {high:.15g}"
    return _knob(default, Knob(meaning=meaning, unit=unit, allowed=f"above {low:.15g}{limit}", accepts=accepts))


def _amount(default: Any, high: float, unit: str, meaning: str) -> Any:
    """A quantity of a Ray resource: Ray refuses what is not 0 but below 0.0001."""

    def accepts(amount: float) -> bool:
        return amount == 0 or SMALLEST_AMOUNT <= amount <= high

    knob = Knob(meaning=meaning, unit=unit, allowed=f"0 or {SMALLEST_AMOUNT:g} to {high:.15g}", accepts=accepts)
    return _knob(default, knob)


def _choice(default: str, choices: tuple[str, ...], meaning: str) -> Any:
    knob = Knob(meaning=meaning, allowed=" or ".join(choices), accepts=choices.__contains__)
    return _knob(default, knob)


def _text(default: Any, pattern: str, allowed: str, meaning: str) -> Any:
    """Text that ``pattern`` matches as a whole."""
    matches = re.compile(pattern).fullmatch
    return _knob(default, Knob(meaning=meaning, allowed=allowed, accepts=lambda value: matches(value) is not None))


def _section(section: type, meaning: str) -> Any:
    return _knob(section, Knob(meaning=meaning))


NAME = r"[A-Za-z0-9_.-]+"
NAME_WORDS = "letters, digits, '_', '.' and '-'"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentConfig:
    """What tells this deployment from others on the cluster and at the broker."""

    name: str = _text("hermes", NAME, NAME_WORDS, "The deployment's name and its Ray namespace.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """Where RabbitMQ is: ``url`` is one AMQP URL or a list of them; checked while loading."""

    url: Any = _knob(
        "${oc.env:HERMES_BROKER_URL,'" + DEFAULT_URL + "'}",
        Knob(
            meaning="The broker: an AMQP URL, or a list of them, the nodes of one cluster.",
            allowed="amqp://USER:PASSWORD@HOST:PORT/VHOST, amqps://... or a list of these",
            secret=True,
        ),
    )

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs in the order to try them, at least one once loaded."""
        return (self.url,) if isinstance(self.url, str) else tuple(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsConfig:
    """Where the scaler serves Prometheus metrics."""

    host: str = _text("127.0.0.1", r"[^\s/]+", "a host name or address", "The address of /metrics and /healthz.")
    port: int = _number(
        9464, 0, 65535, "", "Their port; where it is taken there are none, and status says so. 0 is off."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersConfig:
    """How many workers a topic may have."""

    min: int = _number(0, 0, 100_000, "workers", "Workers kept even without messages; 0 scales to zero.")
    max: int = _number(10, 0, 100_000, "workers", "Workers the topic never exceeds.")
    roll_surge: float = _between(
        0.25, 0, 1.000001, "ratio", "Workers beyond the target that a roll-out may start, of the target; at least one."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """One worker: one process, one Ray actor. ``memory`` is in bytes."""

    concurrency: int | None = _number(
        None, 1, 10_000, "slots", "Messages handled at once by one worker; null is 32 for async handlers, 4 for sync."
    )
    prefetch: int | None = _number(
        None, 1, 65_535, "messages", "Messages one worker holds; null derives it from the service time."
    )
    num_cpus: float = _amount(0.25, 1024, "CPUs", "CPUs Ray reserves for one worker.")
    memory: int | None = _number(None, 1, 10**14, "bytes", "Memory Ray reserves for one worker; null reserves none.")
    resources: dict[str, float] = _amount(
        dict, 1_000_000, "", "Ray custom resources one worker reserves, by name: an amount each."
    )
    drain_timeout_s: float = _number(
        900.0, 0, 7 * DAY_S, "s", "How long a scale-in or a roll-out lets running handlers finish."
    )
    silent_timeout_s: float = _number(
        900.0, 60, 7 * DAY_S, "s", "How long a worker may be silent before it is killed; it is replaced after 60 s."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """What happens to a message whose handler raised."""

    max_attempts: int = _number(5, 1, 1000, "tries", "Tries of one message, the first one included.")
    base_delay_s: float = _number(1.0, 0.01, DAY_S, "s", "The delay before the second try; it doubles with each.")
    max_delay_s: float = _number(1800.0, 0.01, DAY_S, "s", "The longest delay before a try.")


_RULE = ThresholdRule()

# AMQP allows 255; the wait queues of a queue bear its name and their delay in milliseconds, up to a day.
MAX_QUEUE_BYTES = 255 - len(".wait.99999999")


def _is_queue_name(text: str) -> bool:
    if text.startswith("amq.") or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", text):
        return False
    return 1 <= len(text.encode()) <= MAX_QUEUE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdConfig:
    """Go Hermes' rule, used with ``policy: threshold``; field by field ``core.model.ThresholdRule``."""

    up_ready_count: int = _number(_RULE.up_ready_count, 0, 10**12, "messages", "More ready messages than this: grow.")
    down_ready_count: int = _number(
        _RULE.down_ready_count, 0, 10**12, "messages", "Fewer ready messages than this: shrink."
    )
    up_ratio: float = _number(_RULE.up_ratio, 0, 100, "ratio", "The part of the workers added in one step.")
    down_ratio: float = _number(_RULE.down_ratio, 0, 1, "ratio", "The part of the workers removed in one step.")
    interval_s: float = _number(_RULE.interval_s, 0.1, DAY_S, "s", "The time between two checks.")
    cooldown_s: float = _number(_RULE.cooldown_s, 0, DAY_S, "s", "The pause after a step.")
    min_step: int = _number(_RULE.min_step, 1, 100_000, "workers", "The smallest step.")
    max_step: int = _number(_RULE.max_step, 1, 100_000, "workers", "The largest step.")
    up_checks: int = _number(_RULE.up_checks, 1, 1000, "checks", "Checks in a row above the mark before growing.")
    down_checks: int = _number(_RULE.down_checks, 1, 1000, "checks", "Checks in a row below the mark before shrinking.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingConfig:
    """Who decides on the number of workers."""

    policy: str = _choice(
        "adaptive",
        ("adaptive", "threshold", "fixed"),
        "How workers are counted: adaptive follows the latency objective, threshold is Go Hermes' rule, fixed keeps "
        "workers.max.",
    )
    threshold: ThresholdConfig = _section(ThresholdConfig, "The rule of policy threshold.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicConfig:
    """One topic: one queue, one handler, one objective. ``queue`` is the topic's name once loaded, unless set."""

    handler: str = _text(
        dataclasses.MISSING,
        r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*",
        "package.module:name",
        "The function, async function or class that handles a message.",
    )
    options: dict[str, Any] = _knob(
        dict, Knob(meaning="Keyword arguments of a class handler; secrets by ${oc.env:NAME}.", secret=True)
    )
    queue: str | None = _knob(
        None,
        Knob(
            meaning="The queue; null is the topic's name.",
            allowed=f"a name of 1 to {MAX_QUEUE_BYTES} bytes without control characters, not starting with amq.",
            accepts=_is_queue_name,
        ),
    )
    queue_type: str = _choice("quorum", ("quorum", "classic"), "The type of the topic's queues.")
    topology: str = _choice(
        "declare", ("declare", "passive"), "Whether missing queues are declared, or all must exist already."
    )
    weight: float = _between(1.0, 0, math.inf, "", "The priority when the cluster is full: heavier goes first.")
    latency_objective_s: float = _number(30.0, 0.001, 7 * DAY_S, "s", "The time a message may take, publish to settle.")
    latency_objective_ratio: float = _between(
        0.99, 0, 1, "ratio", "The part of the messages that should meet it; not read yet."
    )
    workers: WorkersConfig = _section(WorkersConfig, "How many workers.")
    worker: WorkerConfig = _section(WorkerConfig, "What one worker is.")
    retry: RetryConfig = _section(RetryConfig, "What happens when a handler raises.")
    scaling: ScalingConfig = _section(ScalingConfig, "Who decides on the number of workers.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole deployment."""

    deployment: DeploymentConfig = _section(DeploymentConfig, "The deployment.")
    broker: BrokerConfig = _section(BrokerConfig, "RabbitMQ.")
    drain_timeout_s: float = _number(30.0, 0, DAY_S, "s", "How long stopping lets running handlers finish.")
    state_dir: str = _text(
        "${oc.env:XDG_STATE_HOME,'~/.local/state'}/hermes_ray",
        r"[/~][^\x00]*",
        "the absolute path of a directory, or one from ~",
        "Where the scaler keeps what it knows, on the node it runs on.",
    )
    forget_after_s: float = _number(
        30 * DAY_S, 60, 3650 * DAY_S, "s", "How long a topic that is left out is remembered for its return."
    )
    metrics: MetricsConfig = _section(MetricsConfig, "Prometheus metrics.")
    topics: dict[str, TopicConfig] = _knob(dict, Knob(meaning="The topics by name."))


def topic_params(topic: str, cfg: TopicConfig, concurrency: int) -> TopicParams:
    """What the policy needs of ``cfg``; ``concurrency`` is slots per worker, known once the handler's kind is."""
    return TopicParams(
        topic=topic,
        policy=cfg.scaling.policy,
        weight=cfg.weight,
        latency_objective_s=cfg.latency_objective_s,
        latency_objective_ratio=cfg.latency_objective_ratio,
        workers_min=cfg.workers.min,
        workers_max=cfg.workers.max,
        concurrency=concurrency,
        worker=worker_bundle(cfg.worker),
        threshold=ThresholdRule(**dataclasses.asdict(cfg.scaling.threshold)),
    )


def worker_bundle(worker: WorkerConfig) -> Bundle:
    """The resources Ray reserves for one worker."""
    return Bundle(num_cpus=worker.num_cpus, memory_bytes=float(worker.memory or 0), custom=dict(worker.resources))


def knob(entry: dataclasses.Field[Any]) -> Knob:
    """The declaration of one field of the classes above."""
    declared: Knob = entry.metadata["knob"]
    return declared
