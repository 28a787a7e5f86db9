"""What a scaler begins with: the checkpoint that it may write, and what the scaler before it left there."""

from __future__ import annotations

import logging

import ray

from hermes_ray.cluster.capacity import cluster_id
from hermes_ray.cluster.worker_pool import RayWorkerPool
from hermes_ray.scaler.checkpoint import CLAIM_TRIES, Checkpoint
from hermes_ray.scaler.memory import Memory, recalled
from hermes_ray.scaler.plan import Plan

__all__ = ["claim", "recall"]

log = logging.getLogger(__name__)


def claim(checkpoint: Checkpoint, pool: RayWorkerPool, name: str) -> str | None:
    """Take the checkpoint; why deployment ``name`` is not to be started, if that is another one's.

    A scaler that is restarted, or has workers already, goes on without: somebody has to keep their number. It says
    so, and takes the checkpoint at the first tick that finds it free.
    """
    try:
        checkpoint.claim(tries=CLAIM_TRIES)
    except BlockingIOError as error:
        if not ray.get_runtime_context().was_current_actor_reconstructed and not pool.living():
            return f"deployment {name} was not started: {error}"
    except OSError as error:
        log.warning("no checkpoint: %s", error)  # the first write says it to everybody
    return None


def recall(checkpoint: Checkpoint, plan: Plan) -> Memory:
    """What is known of the plan's topics and workers; a checkpoint that cannot be read is set aside, with a warning."""
    memory = None
    try:
        memory = checkpoint.read()
    except OSError as error:
        checkpoint.set_aside(str(error))
    return recalled(memory, plan, cluster_id())
