"""Records of workers as the crews that ``core/placement.py`` moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hermes_ray.core.placement import Crew
from hermes_ray.core.resources import Size
from hermes_ray.scaler.record import Record

__all__ = ["crew_of", "without"]


def without(records: Sequence[Record], apart: Mapping[Size, Sequence[Record]]) -> list[Record]:
    """Those of ``records`` that are not ``apart``."""
    names = {record.worker for those in apart.values() for record in those}
    return [record for record in records if record.worker not in names]


def crew_of(size: Size, target: int, staying: Sequence[Record], leaving: Sequence[Record], *, is_movable: bool) -> Crew:
    """The crew that these make, who have what they hold in hand."""
    held: Counter[str | None] = Counter()
    for record in staying:
        if record.report is not None:
            held[record.place_id] += record.report.held_count
    return Crew(
        size=size,
        target=target,
        staying=Counter(record.place_id for record in staying),
        leaving=Counter(record.place_id for record in leaving),
        held=held,
        is_movable=is_movable,
    )
