"""What one apply wants: the configuration, the code it came with, and what follows from both for each topic."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from hermes_ray.broker.bindings import Binding
from hermes_ray.broker.broker_spec import BrokerSpec
from hermes_ray.broker.queue_spec import QueueSpec, TopicTopology
from hermes_ray.config.knobs import rolling_values
from hermes_ray.config.sentences import dotted
from hermes_ray.config.settings import Config
from hermes_ray.core.retry_rungs import rungs_ms
from hermes_ray.worker.spec import WorkerSpec

__all__ = ["Owner", "Plan", "digest", "revision", "topology_of", "worker_spec"]

SINGLE_ACTIVE_PREFETCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The command that applied last: ``key`` tells it from others, ``label`` is for people.

    One that ``stays`` follows the deployment; the others have left it running.
    """

    key: str
    label: str
    stays: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one apply wants. ``generation`` grows whatever the wall clock does; ``applied_at`` is Unix time.

    ``rolled``: the generation that forced a roll-out last; ``concurrency``: slots per worker by topic;
    ``import_paths``: where handlers are found; ``code``: the identity of the code; ``applied``: what the next apply
    compares with; ``former_rungs_ms``: delays of retries under settings before these, which may still be under way.
    ``single_active``: topics whose queue serves one consumer at a time.
    ``environment``: Ray's runtime environment of the job that applied,
    with the package of its code; ``former``: what ``hermes rollback`` goes back to, itself without one;
    ``has_worked``: whether a deployment ran by it alone, no worker of another plan left.
    """

    config: Config
    concurrency: Mapping[str, int]
    import_paths: tuple[str, ...] = ()
    generation: int = 0
    rolled: int = 0
    code: str = ""
    owner: Owner | None = None
    applied: Mapping[str, Any] = field(default_factory=dict)
    former_rungs_ms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict, repr=False)
    former: Plan | None = None
    has_worked: bool = False
    applied_at: float = 0.0
    single_active: frozenset[str] = frozenset()


def revision(plan: Plan, topic: str) -> str:
    """What a worker of ``topic`` is made of, in 12 hex digits: when it changes, workers are replaced.

    Code, broker, and the topic's knobs that say so where they are declared. All else changes under a living worker.
    """
    broker = plan.config.broker
    return digest(
        [
            plan.code,
            plan.rolled,
            broker.urls,
            broker.decoder,
            broker.ack_timeout_s,
            rolling_values(plan.config.topics[topic]),
            *(["single active"] if topic in plan.single_active else []),  # others' prefetch changes
        ]
    )


def digest(parts: Any) -> str:
    """12 hex digits of plain values, whatever the order of their mappings' keys."""
    return hashlib.sha256(repr(_ordered(parts)).encode()).hexdigest()[:12]


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        # By repr: YAML keys may be numbers and text side by side, which do not sort.
        return sorted((repr(key), _ordered(item)) for key, item in value.items())
    return [_ordered(item) for item in value] if isinstance(value, list | tuple) else value


def topology_of(config: Config, topic: str) -> TopicTopology:
    """The queues of a topic, as configured."""
    chosen = config.topics[topic]
    return TopicTopology(
        topic=topic,
        queue=config.queue_of(topic),
        queue_type=chosen.queue_type,
        declare=chosen.topology != "passive",
        is_existing=chosen.topology == "existing",
        arguments=chosen.queue_arguments,
        bindings=_bindings(config, topic),
        rungs_ms=rungs_ms(chosen.retry.base_delay_s, chosen.retry.max_delay_s, chosen.retry.max_attempts),
    )


def _bindings(config: Config, topic: str) -> tuple[Binding, ...]:
    """The bindings of a topic; what another topic says of the type of an exchange holds for all."""
    every = [binding for chosen in config.topics.values() for binding in chosen.bindings]
    types = {binding.exchange: binding.exchange_type for binding in every if binding.exchange_type}
    return tuple(
        Binding(
            key=f"{dotted('topics', topic)}.bindings[{index}]",
            exchange=binding.exchange,
            routing_key=binding.routing_key,
            exchange_type=types.get(binding.exchange),
            arguments=binding.arguments,
        )
        for index, binding in enumerate(config.topics[topic].bindings)
    )


def probed_topology(plan: Plan, topic: str) -> TopicTopology:
    """The queues whose messages count: those as configured, and wait queues of earlier retry settings."""
    topology = topology_of(plan.config, topic)
    former = plan.former_rungs_ms.get(topic, ())
    return replace(topology, rungs_ms=tuple(sorted({*topology.rungs_ms, *former})))


def queue_spec(config: Config, topic: str) -> QueueSpec:
    """What a topic's consumers must know of its queue."""
    queues = topology_of(config, topic)
    return QueueSpec(
        **{entry.name: getattr(queues, entry.name) for entry in fields(queues)},
        max_attempts=config.topics[topic].retry.max_attempts,
        routes={name: config.queue_of(name) for name in config.topics},
    )


def _prefetch(plan: Plan, topic: str) -> int | None:
    """None where it follows what messages take: to change it another consumer is needed.

    Of a single active consumer that would be the standby's, while the handlers of this one still run.
    """
    configured: int | None = plan.config.topics[topic].worker.prefetch
    if configured is None and topic in plan.single_active:
        return max(SINGLE_ACTIVE_PREFETCH, plan.concurrency[topic])
    return configured


def worker_spec(plan: Plan, topic: str) -> WorkerSpec:
    """What every worker of a topic is built from; its name comes with its start."""
    config, chosen = plan.config, plan.config.topics[topic]
    return WorkerSpec(
        deployment=config.deployment.name,
        worker=topic,
        broker=BrokerSpec(
            urls=config.broker.urls, decoder=config.broker.decoder, ack_timeout_s=config.broker.ack_timeout_s
        ),
        queue=queue_spec(config, topic),
        handler=chosen.handler,
        options=chosen.options,
        import_paths=plan.import_paths,
        concurrency=plan.concurrency[topic],
        prefetch=_prefetch(plan, topic),
        prefetch_bytes=chosen.worker.prefetch_bytes,
        timeout_s=chosen.worker.timeout_s,
        drain_timeout_s=chosen.worker.drain_timeout_s,
        revision=revision(plan, topic),
    )
