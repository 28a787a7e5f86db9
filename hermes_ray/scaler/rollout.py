"""Replacing workers of old code or settings: which to start and which to drain, one topic at a time; pure.

Two canaries first, beside the old ones. Once both have proven themselves (see ``lifecycle.is_proven``), waves: new ones
up to ``surge`` beyond the target, and an old one drains for each new one that is proven. Where a new one does not fit
beside the old, those in its way drain first.
Where larger workers are granted fewer places, an old one is not worth a whole new one: ``old_per_new`` of them work on
for each new one that has yet to show that it works.
A canary that fails stops it: the old ones work on until the next try, whose pauses grow, has shown that the new code
starts. With 100 old ones, a target of 100 and a surge of 0.25: 2 new, then 25 beyond the target at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

__all__ = ["CANARY_COUNT", "Rollout", "old_to_drain_count", "wanted_new_count"]

CANARY_COUNT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One topic in the middle of a roll-out: workers that stay, by code. ``proven_count`` are new ones that work.

    ``old_per_new``: old workers for one place of ``target``, at least 1.
    """

    target: int
    old_count: int
    new_count: int
    proven_count: int
    surge_ratio: float
    old_per_new: float = 1.0

    @property
    def surge_count(self) -> int:
        """Workers that may be beyond the target: at least 1."""
        return max(1, ceil(self.surge_ratio * self.target - 1e-9))

    @property
    def old_places(self) -> int:
        """Places of the target that the old ones take."""
        return ceil(self.old_count / self.old_per_new - 1e-9)

    @property
    def is_canary_time(self) -> bool:
        """Whether there are old ones, and the new code is yet to show that it works."""
        return self.old_count > 0 and self.proven_count < min(CANARY_COUNT, self.target)

    @property
    def spare_count(self) -> int:
        """Old workers that others may have the room of: all beyond one for each place."""
        return max(0, self.old_count - max(0, self.target - self.proven_count))


def wanted_new_count(rollout: Rollout) -> int:
    """How many new workers there should be at this moment, those that are there included.

    4 old and a target of 4: 2; with both proven and 2 old gone: 3, since 2 old + 3 new are 1 beyond the target.
    """
    if rollout.old_count == 0 or rollout.target == 0:
        return rollout.target
    if rollout.is_canary_time:
        # A target that grows gets the difference in new workers at once: old code cannot be started any more, and the
        # messages would wait until the canaries are proven.
        return max(rollout.new_count, min(CANARY_COUNT, rollout.target), rollout.target - rollout.old_count)
    beside_old = rollout.target + rollout.surge_count - rollout.old_places
    return max(rollout.new_count, min(rollout.target, beside_old))


def old_to_drain_count(rollout: Rollout) -> int:
    """How many old workers nobody needs any more: all beyond the target less the new ones that are proven.

    4 old and 2 new of which 1 is proven, target 4: 1. 6 old of 1 CPU, 2 places for new ones of 3 CPU, 1 proven: 3.
    """
    unproven_count = max(0, rollout.target - rollout.proven_count)
    return max(0, rollout.old_count - floor(unproven_count * rollout.old_per_new + 1e-9))
