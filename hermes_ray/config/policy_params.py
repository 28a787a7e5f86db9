"""What the policy and the allocation are told of a topic's configuration."""

from __future__ import annotations

import dataclasses

from hermes_ray.config.settings import TopicConfig, WorkerConfig
from hermes_ray.core.model import ThresholdRule, TopicParams
from hermes_ray.core.resources import Resources

__all__ = ["topic_params", "worker_resources"]


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
        worker=worker_resources(cfg.worker),
        threshold=ThresholdRule(**dataclasses.asdict(cfg.scaling.threshold)),
    )


def worker_resources(worker: WorkerConfig) -> Resources:
    """What Ray reserves for one worker, amounts above 0 only, in ten-thousandths as Ray counts."""
    named = {"CPU": worker.num_cpus, "memory": float(worker.memory or 0), **worker.resources}
    return {name: round(amount, 4) for name, amount in named.items() if amount > 0}
