"""What Ray shows of the cluster."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import ray

from hermes_ray.cluster.ray_private import free_by_node, kept_value
from hermes_ray.core.model import Bundle, Capacity, Node
from hermes_ray.core.room import flat

__all__ = ["ClusterView", "cluster_id", "head_node_id", "node_totals"]

log = logging.getLogger(__name__)

CLUSTER_ID_KEY = "hermes_ray/cluster_id"
HEAD_RESOURCE = "node:__internal_head__"
OTHERS_WINDOW_S = 5.0
_IGNORED = ("node:", "object_store_memory", "accelerator_type:")


def cluster_id() -> str:
    """A name of this Ray cluster, made up by the first scaler that asks: it lasts as long as the cluster does."""
    return kept_value(CLUSTER_ID_KEY, secrets.token_hex(8))


def head_node_id() -> str | None:
    """The node that the cluster's own services run on; None if Ray does not say."""
    heads = [node["NodeID"] for node in ray.nodes() if node["Alive"] and HEAD_RESOURCE in node["Resources"]]
    return heads[0] if heads else None


def node_totals() -> list[dict[str, float]]:
    """All resources of each living node, under Ray's names, in use or not."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


class ClusterView:
    """What the cluster can hold of our workers: each node's resources less what others use there.

    Ray's view of free resources lags our own starts and exits by a second or so. What others use is therefore the least
    of the last 5 s: they are seen late, but never made up of our own workers coming and going.
    """

    def __init__(self) -> None:
        self._others: dict[tuple[str, str], deque[tuple[float, float]]] = {}

    def capacity(
        self,
        ours: Mapping[str, Mapping[str, int]],
        unplaced: Iterable[Bundle],
        sizes: Mapping[str, Bundle],
        now_s: float,
    ) -> Capacity | None:
        """Capacity by node. ``ours``: node id -> topic -> workers there; ``unplaced``: sizes of workers on a node not
        known yet; ``sizes``: what a worker of each topic takes. None if Ray does not answer.
        """
        try:
            nodes = [node for node in ray.nodes() if node["Alive"]]
            free = free_by_node()
        except Exception as error:
            log.warning("the cluster's resources are unknown: %s", error)
            return None
        used_by_others: dict[str, dict[str, float]] = {}
        for node in nodes:
            node_id = node["NodeID"]
            held = _sum(sizes[topic] for topic, count in ours.get(node_id, {}).items() for _ in range(count))
            used_by_others[node_id] = {
                key: max(0.0, total - free.get(node_id, {}).get(key, 0.0) - held.get(key, 0.0))
                for key, total in _countable(node["Resources"]).items()
            }
        for bundle in unplaced:
            _attribute(used_by_others, flat(bundle))
        return Capacity(nodes=tuple(self._node(node, used_by_others, ours, now_s) for node in nodes))

    def _node(
        self,
        node: Mapping[str, Any],
        used: Mapping[str, Mapping[str, float]],
        ours: Mapping[str, Mapping[str, int]],
        now_s: float,
    ) -> Node:
        node_id = node["NodeID"]
        left = {}
        for key, total in _countable(node["Resources"]).items():
            left[key] = max(0.0, total - self._least(node_id, key, used[node_id][key], now_s))
        bundle = Bundle(num_cpus=left.pop("CPU", 0.0), memory_bytes=left.pop("memory", 0.0), custom=left)
        return Node(node_id=node_id, available=bundle, workers=dict(ours.get(node_id, {})))

    def _least(self, node_id: str, key: str, used: float, now_s: float) -> float:
        samples = self._others.setdefault((node_id, key), deque())
        samples.append((now_s, used))
        while samples[0][0] < now_s - OTHERS_WINDOW_S:
            samples.popleft()
        return min(value for _, value in samples)


def _countable(resources: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in resources.items() if not key.startswith(_IGNORED)}


def _sum(bundles: Iterable[Bundle]) -> dict[str, float]:
    total: dict[str, float] = {}
    for bundle in bundles:
        for key, value in flat(bundle).items():
            total[key] = total.get(key, 0.0) + value
    return total


def _attribute(used_by_others: Mapping[str, dict[str, float]], size: Mapping[str, float]) -> None:
    """Take a worker whose node we do not know yet off the first node where something of its size is in use."""
    for used in used_by_others.values():
        if all(used.get(key, 0.0) + 1e-9 >= value for key, value in size.items()):
            for key, value in size.items():
                used[key] = max(0.0, used[key] - value)
            return
