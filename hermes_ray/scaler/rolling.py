"""How far each topic's roll-out is, seen in the workers that there are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hermes_ray.scaler.lifecycle import is_proven
from hermes_ray.scaler.record import Record
from hermes_ray.scaler.rollout import Rollout
from hermes_ray.scaler.workforce import Workforce

__all__ = ["NONE_WANTED", "Rolling"]

NONE_WANTED: Mapping[str, int] = MappingProxyType({})


class Rolling:
    """Looks at one topic at a time.

    ``wanted``: what topics would get if there were room for all; of one that is not in it its target is all.
    """

    def __init__(self, workforce: Workforce) -> None:
        self._force = workforce
        self.wanted = NONE_WANTED

    def parted(self, topic: str, now_s: float) -> tuple[list[Record], list[Record]]:
        """Those that stay: of old code or settings, and of new."""
        staying = self._force.team(topic, now_s).staying
        old = [record for record in staying if self._force.is_outdated(record)]
        return old, [record for record in staying if not self._force.is_outdated(record)] if old else list(staying)

    def rollout(self, topic: str, target: int, now_s: float) -> Rollout:
        """What there is; all of them new where no roll-out goes on."""
        old, new = self.parted(topic, now_s)
        return Rollout(
            target=target,
            old_count=len(old),
            new_count=len(new),
            proven_count=sum(self.has_shown(record, now_s) for record in new) if old else len(new),
            surge_ratio=self._force.topics[topic].workers.roll_surge,
            old_per_new=self._old_per_new(topic, target, now_s),
        )

    def has_shown(self, record: Record, now_s: float) -> bool:
        """Whether it has shown that it works, and for as long as its code has to, if that is in doubt."""
        doubt = self._force.doubts.get(record.topic)
        is_doubted = doubt is not None and record.heard_s - record.since_s < doubt.proof_s
        return not is_doubted and is_proven(record, self._force.limits(record.topic), now_s)

    def _old_per_new(self, topic: str, target: int, now_s: float) -> float:
        """Where there are fewer places for workers of another size than are wanted, the old ones share those."""
        wanted = self.wanted.get(topic, target)
        return max(1.0, wanted / target) if target and self._force.former(topic, now_s) else 1.0
