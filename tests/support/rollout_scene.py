"""A roll-out to play: workers of old code are replaced on one node, second by second."""

from __future__ import annotations

from collections.abc import Callable

from hermes_ray.core.model import Capacity, Node
from hermes_ray.scaler.start_backoff import EARLY_DEATH_S
from tests.support.fleet_scene import Scene

CPU = "topics.heavy.worker.num_cpus=1"


class Rollout(Scene):
    """``heavy`` on a node of ``places``; workers are up ``start_s`` after their start, and gone 2 s after a drain.

    ``broken`` ones never come up, ``fragile`` ones end 3 s after they did.
    """

    def __init__(self, *, places: int = 1000, start_s: float = 1.0, words: tuple[str, ...] = ()) -> None:
        self.words = (CPU, *words)
        self.handled = 0  # messages that a new worker has settled when it reports first
        self.lines: list[str] = []
        super().__init__(*self.words)
        self.places, self.start_s = places, start_s
        self.broken: Callable[[str], bool] = lambda worker: False
        self.fragile: Callable[[str], bool] = lambda worker: False
        self.up_since_s: dict[str, float] = {}
        self.asked_s: dict[str, float] = {}
        self.started_s: dict[str, float] = {}
        self.consuming_counts: list[int] = []
        self.draining_counts: list[int] = []

    def play(self, seconds: int, heavy: int) -> None:
        for _ in range(seconds):
            for worker in list(self.pool.workers):
                self._live(worker)
            node = Node(node_id="node", available={"CPU": self.places})
            self.lines += self.tick(capacity=Capacity(nodes=(node,)), heavy=heavy)
            for worker, _timeout_s in self.pool.drained:
                self.asked_s.setdefault(worker, self.now_s)
            for worker in self.pool.started:
                self.started_s.setdefault(worker, self.now_s)
            leaving = [worker for worker in self.pool.workers if worker in self.asked_s]
            consuming = [worker for worker in self.pool.workers if worker in self.up_since_s and worker not in leaving]
            self.consuming_counts.append(len(consuming))
            self.draining_counts.append(len(leaving))
            assert len(self.pool.workers) <= self.places

    def _live(self, worker: str) -> None:
        asked_s = self.asked_s.get(worker)
        if asked_s is not None and self.now_s - asked_s >= 2.0:
            self.gone(worker)
        elif worker not in self.up_since_s and self.broken(worker):
            self.fails(worker)
            self.gone(worker)
        elif self.fragile(worker) and self.now_s - self.up_since_s.get(worker, self.now_s) >= 3.0:
            self.gone(worker)
        elif asked_s is not None or self.now_s - self.started_s[worker] >= self.start_s - 1.0:
            self.up_since_s.setdefault(worker, self.now_s)
            self.says(worker, phase="consuming" if asked_s is None else "draining", acked=self.handled)

    def begun(self, heavy: int) -> list[str]:
        """So many workers of old code, and a plan of new code."""
        self.play(int(EARLY_DEATH_S) + 3, heavy)
        old = list(self.pool.workers)
        self.consuming_counts.clear()
        self.draining_counts.clear()
        self.applied(*self.words, code="new")
        return old

    def rests(self, heavy: int) -> bool:
        """Whether a further two minutes start and drain nobody."""
        before = (len(self.pool.started), len(self.pool.drained))
        self.play(120, heavy)
        return before == (len(self.pool.started), len(self.pool.drained))
