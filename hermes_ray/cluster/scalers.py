"""The scaler as a named, detached actor: found, started, and told apart."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterable, Mapping
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hermes_ray.cluster.capacity import head_node_id
from hermes_ray.cluster.outlet import SCALER_NAME
from hermes_ray.cluster.ray_private import class_of
from hermes_ray.errors import UserMistake

__all__ = ["SCALER_CLASS", "create_scaler", "deployment_names", "end_if_replaced", "find_scaler", "packed", "unpacked"]

log = logging.getLogger(__name__)

SCALER_CLASS = "hermes_ray.cluster.scaler_actor.Scaler"  # by its name: that module imports this one
INLINE_BYTES = 64_000  # Ray's limit is 100 KiB


def create_scaler(cls: type, namespace: str, plan: object) -> Any:
    """Start the detached scaler of ``namespace`` with ``packed(plan)``; raises ``ValueError`` if there is one."""
    head = head_node_id()
    return (
        ray.remote(cls)
        .options(
            name=SCALER_NAME,
            namespace=namespace,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            # Its checkpoint is a file there; elsewhere it starts without one.
            scheduling_strategy=NodeAffinitySchedulingStrategy(head, soft=True) if head else "DEFAULT",
        )
        .remote(*packed(plan))
    )


def find_scaler(namespace: str) -> Any | None:
    """The scaler of ``namespace``, None if there is none; raises ``UserMistake`` if its name is somebody else's."""
    try:
        handle = ray.get_actor(SCALER_NAME, namespace=namespace)
    except ValueError:
        return None
    if (found := class_of(handle)) != SCALER_CLASS:
        raise UserMistake(
            f"the actor {SCALER_NAME!r} in the Ray namespace {namespace} is a {found} and no scaler of hermes_ray: set "
            "another deployment.name, or end that actor"
        )
    return handle


def end_if_replaced(namespace: str) -> None:
    """End this process, the scaler's, if somebody ended its actor or has put another in its place.

    Ray does not end a process that stood still as it was told to: it would decide beside its successor.
    """
    try:
        found = find_scaler(namespace)
    except Exception:  # Ray does not say
        return
    if found is None or found._actor_id.hex() != ray.get_runtime_context().get_actor_id():
        log.error("this scaler was replaced while it stood still: it ends")
        os._exit(1)


def deployment_names() -> list[str]:
    """The deployments on this cluster, by name."""
    actors = ray.util.list_named_actors(all_namespaces=True)
    return sorted(actor["namespace"] for actor in actors if actor["name"] == SCALER_NAME and _is_ours(actor))


def _is_ours(actor: Mapping[str, str]) -> bool:
    """Whether a scaler's name is a scaler's; one that ends while it is looked at was one."""
    try:
        return class_of(ray.get_actor(actor["name"], namespace=actor["namespace"])) == SCALER_CLASS
    except (ValueError, RayError):
        return True


def packed(value: object) -> list[bytes]:
    """``value`` pickled, in pieces that are small enough for Ray to keep with the actor itself.

    A larger one would be kept by the driver's process, and without that no restart of the actor could have it.
    """
    whole = pickle.dumps(value)
    return [whole[start : start + INLINE_BYTES] for start in range(0, len(whole), INLINE_BYTES)]


def unpacked(pieces: Iterable[bytes]) -> Any:
    """The value that was ``packed``."""
    return pickle.loads(b"".join(pieces))
