"""A fleet on nodes with room for some of it: whole episodes of who starts where, and who makes room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hermes_ray.core.model import Capacity, Node
from hermes_ray.core.resources import Resources, free_of, size_of, take
from hermes_ray.core.share import Share, share
from tests.support.fleet_scene import Scene


class Cluster(Scene):
    """Nodes of so many CPUs; a worker starts where it was asked for, and is gone 2 s after it was told to drain.

    Topics beside ``light`` and ``heavy`` come with ``words``; who asks for one of a node's name is bound to it. Workers
    that are ``broken`` do not start, ``mute`` ones say nothing.
    """

    def __init__(self, *cpus: float, light: float = 1.0, heavy: float = 4.0, words: tuple[str, ...] = ()) -> None:
        sizes = (f"topics.light.worker.num_cpus={light}", f"topics.heavy.worker.num_cpus={heavy}")
        self.words = (*sizes, *words)
        super().__init__(*self.words)
        self.cpus = {f"n{i}": count for i, count in enumerate(cpus)}
        self.asked_s: dict[str, float] = {}
        self.lines: list[str] = []
        self.draining: frozenset[str] = frozenset()
        self.mute: Callable[[str], bool] = lambda _worker: False
        self.broken: Callable[[str], bool] = lambda _worker: False

    def at(self, node_id: str) -> Counter[str]:
        """Living workers there by topic."""
        return Counter(w.partition("/")[0] for w in self.pool.workers if self.pool.nodes[w] == node_id)

    def capacity(self) -> Capacity:
        nodes = [Node(node_id=n, available=self._has(n)) for n in self.cpus if n not in self.draining]
        return Capacity(nodes=tuple(nodes), draining=self.draining)

    def _has(self, node_id: str) -> Resources:
        return {"CPU": self.cpus[node_id], node_id: 100.0}

    def play(self, seconds: int, **wanted: int) -> None:
        """So many are wanted; what is granted is what fits."""
        for _ in range(seconds):
            for worker in [
                w for w, at_s in self.asked_s.items() if self.now_s - at_s >= 1.0 and w in self.pool.workers
            ]:
                self.gone(worker)
            for worker in [worker for worker in self.pool.killed if worker in self.pool.workers]:
                self.gone(worker)
            for worker in [worker for worker in self.pool.workers if self.broken(worker)]:
                self.fails(worker)
                self.gone(worker)
            for worker in self.pool.workers:
                if not self.mute(worker):
                    self.says(worker, node_id=self.pool.nodes[worker], acked=1)
            capacity = self.capacity()
            shares = self.shares(capacity, **dict.fromkeys(self.plan.config.topics, 0) | wanted)
            kept = {topic for topic, share in shares.items() if share.is_kept}
            granted = {topic: share.granted for topic, share in shares.items()}
            asked = {topic: number for topic, number in wanted.items() if topic not in kept}
            self.lines += self.tick(capacity=capacity, kept=kept, wanted=asked, **granted)
            for worker, _timeout_s in self.pool.drained:
                self.asked_s.setdefault(worker, self.now_s)
            self._nobody_is_squeezed_in()

    def shares(self, capacity: Capacity, **targets: int) -> dict[str, Share]:
        return share(targets, self.fleet.params, capacity, self.fleet.former(self.now_s))

    def _nobody_is_squeezed_in(self) -> None:
        free = {node_id: free_of(self._has(node_id)) for node_id in self.cpus}
        for worker in self.pool.workers:
            node_id = self.pool.nodes[worker]
            assert node_id is not None
            take(free[node_id], size_of(self.pool.sizes[worker]))
        assert all(amount >= 0 for left in free.values() for amount in left.values())

    def counts(self) -> tuple[int, int]:
        living = Counter(w.partition("/")[0] for w in self.pool.workers)
        return living["light"], living["heavy"]

    def rests(self, **wanted: int) -> bool:
        """Whether a further minute orders nothing."""
        before = (len(self.pool.started), len(self.pool.drained))
        self.play(60, **wanted)
        return before == (len(self.pool.started), len(self.pool.drained))
