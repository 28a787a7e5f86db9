"""Ray's private calls, where it has no public ones (Ray 2.60): what an upgrade of Ray may break is here."""

from __future__ import annotations

import logging
from typing import Any

import ray
from ray._private.authentication.authentication_token_setup import (
    ensure_token_if_auth_enabled,
    maybe_enable_token_auth_if_token_available,
)
from ray._private.services import find_bootstrap_address, find_gcs_addresses
from ray._private.state import available_resources_per_node, state
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.experimental.internal_kv import (
    _internal_kv_exists,
    _internal_kv_get,
    _internal_kv_put,
    _pin_runtime_env_uri,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

__all__ = ["class_of", "cluster_addresses", "draining_nodes", "drop_raylet_news", "free_by_node", "has_package"]
__all__ += ["kept_value", "near", "node_types", "process_of", "refer_to_package", "send_token", "try_token"]
__all__ += ["waiting_actors"]


def drop_raylet_news() -> None:
    """Stop Ray from printing messages of raylets and retries to this driver's stderr; it has no option for that.

    They would stand between a command's lines. What concerns a deployment is told by its scaler; the rest is in Ray's
    logs and dashboard.
    """

    def say_nothing(data: object, ignore_prefix: bool) -> None:
        del data, ignore_prefix

    ray._private.worker.print_to_stdstream = say_nothing


def cluster_addresses() -> list[str]:
    """Where a cluster may answer on this machine: the last that ``ray start`` noted, which may be gone, then any."""
    return [find_bootstrap_address(None) or "", *find_gcs_addresses()]


def send_token() -> None:
    """Send the user's token from now on; raises Ray's ``AuthenticationError`` if one is asked for and there is none.

    Ray 2.60 protects new clusters once a token exists, but does not send it to an address given explicitly.
    """
    # Else Ray logs a line about the token at each command.
    logging.getLogger(maybe_enable_token_auth_if_token_available.__module__).setLevel(logging.ERROR)
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    ensure_token_if_auth_enabled(create_token_if_missing=False)


def try_token(address: str) -> None:
    """Raise Ray's ``AuthenticationError`` if the cluster at ``address`` refuses our token.

    ``ray.init`` would try for 20 s, to say then that there is no cluster.
    """
    GcsClient(address=address)


def free_by_node() -> dict[str, dict[str, float]]:
    """Free resources by node id, as of a second or so ago."""
    free: dict[str, dict[str, float]] = available_resources_per_node()
    return free


def draining_nodes() -> set[str]:
    """The nodes that Ray is about to remove: its autoscaler, or somebody by ``ray drain-node``."""
    return set(state.get_draining_nodes())


def node_types() -> list[dict[str, float]]:
    """What a node of each kind has that Ray's autoscaler may add; empty without one, or where it does not say."""
    config = state.get_cluster_config()
    groups = [] if config is None else config.node_group_configs
    return [{name: float(n) for name, n in group.resources.items()} for group in groups if group.max_count != 0]


def near(node_id: str) -> NodeAffinitySchedulingStrategy:
    """Start on this node, or where there is room if that is full or gone; the public soft affinity waits for ever."""
    return NodeAffinitySchedulingStrategy(node_id, soft=True, _spill_on_unavailable=True)


def kept_value(key: str, value: str) -> str:
    """The value that the cluster keeps under ``key``: the first that anybody gave it, lost with the cluster."""
    _internal_kv_put(key, value, overwrite=False)
    found: bytes = _internal_kv_get(key)
    return found.decode()


def has_package(uri: str) -> bool:
    """Whether the cluster still has the package ``gcs://NAME.zip``."""
    return bool(_internal_kv_exists(uri))


def refer_to_package(uri: str, lasts_s: int) -> None:
    """Keep Ray from deleting the package ``gcs://NAME.zip`` for so long."""
    _pin_runtime_env_uri(uri, expiration_s=lasts_s)


def waiting_actors() -> set[str]:
    """Ids, in hexadecimal, of the actors that Ray is to create and has given no process yet."""
    pending = state.actor_table(None, actor_state_name="PENDING_CREATION")
    return {actor_id for actor_id, actor in pending.items() if not actor["Pid"]}


def process_of(actor_id: str) -> tuple[str, int]:
    """The node and the process id of an actor that is up; its id is in hexadecimal."""
    actor = state.actor_table(actor_id)
    return actor["Address"]["NodeID"], actor["Pid"]


def class_of(handle: Any) -> str:
    """An actor's class with its module, ``package.module.Class``; its name alone may be anybody's."""
    descriptor = handle._ray_actor_creation_function_descriptor
    module = getattr(descriptor, "module_name", "java")  # an actor of Ray's Java workers has none
    return f"{module}.{descriptor.class_name}"
