"""The queues of a topic, and what a consumer is told of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from hermes_ray.broker.bindings import Binding

__all__ = ["QueueSpec", "TopicTopology"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicTopology:
    """The queues of one topic; with ``declare`` false nothing is created and everything must exist.

    ``is_existing``: the main queue is taken as it is, only those for dead letters and retries are created.
    ``arguments`` and ``bindings``: what the main queue has beside what all have. ``rungs_ms``: the delays its retries
    can have, a wait queue each; with ``declare`` each comes with its first retry.
    """

    topic: str
    queue: str
    queue_type: str = "quorum"
    declare: bool = True
    is_existing: bool = False
    arguments: Mapping[str, str | int] = field(default_factory=dict)
    bindings: tuple[Binding, ...] = ()
    rungs_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec(TopicTopology):
    """What a consumer must know of its queues. ``routes`` maps each topic of the deployment to its queue."""

    max_attempts: int = 5
    routes: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> str:
        """What may change under a living consumer, in 12 hex digits; of a thousand routes it takes a millisecond."""
        text = repr((self.max_attempts, self.rungs_ms, sorted(self.routes.items())))
        return hashlib.sha256(text.encode()).hexdigest()[:12]
