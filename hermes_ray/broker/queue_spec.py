"""What a consumer is told of its queue."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from hermes_ray.broker.bindings import Binding

__all__ = ["QueueSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """What a consumer must know of its queue. ``routes`` maps each topic of the deployment to its queue.

    ``declare``, ``is_existing``, ``arguments`` and ``bindings`` are those of ``TopicTopology``.
    """

    topic: str
    queue: str
    queue_type: str = "quorum"
    declare: bool = True
    is_existing: bool = False
    arguments: Mapping[str, str | int] = field(default_factory=dict)
    bindings: tuple[Binding, ...] = ()
    max_attempts: int = 5
    rungs_ms: tuple[int, ...] = ()
    routes: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> str:
        """What may change under a living consumer, in 12 hex digits; of a thousand routes it takes a millisecond."""
        text = repr((self.max_attempts, self.rungs_ms, sorted(self.routes.items())))
        return hashlib.sha256(text.encode()).hexdigest()[:12]
