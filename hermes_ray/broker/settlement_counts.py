"""What a consumer counts of the deliveries that it settles."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Kind", "SettlementCounts"]

Kind = Literal["acked", "retried", "dead_lettered_permanent", "dead_lettered_attempts"]


class SettlementCounts(Struct, kw_only=True, array_like=True):
    """Cumulative since the worker's start; written by its I/O thread alone.

    Of ``received`` deliveries some were ``given_back`` to the queue unsettled, the others ``acked`` after success,
    ``retried`` (moved to a wait queue), or dead-lettered because no retry can help (``permanent``) or all ``attempts``
    are used up. ``stale`` settlements came for a channel that is gone, and were dropped.

    Written as an array: a new counter comes last, else those of older files and workers are read into others.
    """

    received: int = 0
    given_back: int = 0
    acked: int = 0
    retried: int = 0
    dead_lettered_permanent: int = 0
    dead_lettered_attempts: int = 0
    stale: int = 0

    def add(self, kind: Kind, count: int = 1) -> None:
        """So many more became ``kind``."""
        setattr(self, kind, getattr(self, kind) + count)

    @property
    def dead_lettered(self) -> int:
        """Both reasons together."""
        return self.dead_lettered_permanent + self.dead_lettered_attempts

    @property
    def settled(self) -> int:
        """Deliveries gone for good: acked or dead-lettered. A retry comes back and is not one of them."""
        return self.acked + self.dead_lettered
