"""What Ray shows of the cluster."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import ray

from hermes_ray.cluster.ray_private import draining_nodes, free_by_node, kept_value, node_types
from hermes_ray.core.model import Capacity, Node
from hermes_ray.core.resources import Resources

__all__ = ["ClusterView", "cluster_id", "head_node_id", "node_totals"]

log = logging.getLogger(__name__)

CLUSTER_ID_KEY = "hermes_ray/cluster_id"
HEAD_RESOURCE = "node:__internal_head__"
OTHERS_WINDOW_S = 5.0
ALWAYS_COUNTED = ("CPU", "memory")


def cluster_id() -> str:
    """A name of this Ray cluster, made up by the first scaler that asks: it lasts as long as the cluster does."""
    return kept_value(CLUSTER_ID_KEY, secrets.token_hex(8))


def head_node_id() -> str | None:
    """The node that the cluster's own services run on; None if Ray does not say."""
    heads = [node["NodeID"] for node in ray.nodes() if node["Alive"] and HEAD_RESOURCE in node["Resources"]]
    return heads[0] if heads else None


def node_totals() -> list[dict[str, float]]:
    """All resources of each living node, in use or not, and of each kind of node that Ray's autoscaler may add."""
    return [*(dict(node["Resources"]) for node in ray.nodes() if node["Alive"]), *node_types()]


class ClusterView:
    """What the cluster can hold of our workers: each node's resources less what others use there.

    Ray's view of free resources lags our own starts and exits by a second or so. What others use is therefore the least
    of the last 5 s: they are seen late, but never made up of our own workers coming and going.
    """

    def __init__(self) -> None:
        self._others: dict[tuple[str, str], deque[tuple[float, float]]] = {}

    def capacity(
        self,
        ours: Mapping[str, Resources],
        unplaced: Collection[Resources],
        sizes: Iterable[Resources],
        now_s: float,
    ) -> Capacity | None:
        """Capacity by node. ``ours``: node id -> what our workers there take together; ``unplaced``: what workers take
        whose node is not known yet; ``sizes``: what new workers take. The resources of all these count. None if Ray
        does not answer. A node that Ray drains takes nobody.
        """
        try:
            draining = draining_nodes()
            nodes = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in draining]
            free = free_by_node()
        except Exception as error:
            log.warning("the cluster's resources are unknown: %s", error)
            return None
        counted = {name for amounts in (*sizes, *ours.values(), *unplaced) for name in amounts}.union(ALWAYS_COUNTED)
        totals = {node["NodeID"]: _counted(node["Resources"], counted) for node in nodes}
        used_by_others: dict[str, dict[str, float]] = {}
        for node_id, total in totals.items():
            held, left = ours.get(node_id, {}), free.get(node_id, {})
            used_by_others[node_id] = {
                key: max(0.0, amount - left.get(key, 0.0) - held.get(key, 0.0)) for key, amount in total.items()
            }
        for resources in unplaced:
            _attribute(used_by_others, resources)
        return Capacity(
            nodes=tuple(
                self._node(node_id, total, used_by_others[node_id], now_s) for node_id, total in totals.items()
            ),
            draining=frozenset(draining),
        )

    def _node(self, node_id: str, total: Resources, used: Resources, now_s: float) -> Node:
        left = {key: max(0.0, amount - self._least(node_id, key, used[key], now_s)) for key, amount in total.items()}
        return Node(node_id=node_id, available=left, total=total)

    def _least(self, node_id: str, key: str, used: float, now_s: float) -> float:
        samples = self._others.setdefault((node_id, key), deque())
        samples.append((now_s, used))
        while samples[0][0] < now_s - OTHERS_WINDOW_S:
            samples.popleft()
        return min(value for _, value in samples)


def _counted(resources: Mapping[str, Any], names: Iterable[str]) -> dict[str, float]:
    return {name: float(resources[name]) for name in names if name in resources}


def _attribute(used_by_others: Mapping[str, dict[str, float]], size: Resources) -> None:
    """Take a worker whose node we do not know yet off the first node where something of its size is in use."""
    for used in used_by_others.values():
        if all(used.get(key, 0.0) + 1e-9 >= value for key, value in size.items()):
            for key, value in size.items():
                used[key] = max(0.0, used[key] - value)
            return
