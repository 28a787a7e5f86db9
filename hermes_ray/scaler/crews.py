"""Records of workers as the crews that ``core/placement.py`` moves, and who of them goes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hermes_ray.core.model import Capacity
from hermes_ray.core.moves import Crew
from hermes_ray.core.resources import Size
from hermes_ray.scaler.record import Record

__all__ = ["Crews", "Victims", "crew_of", "without"]


@dataclass(slots=True)
class Crews:
    """All there are at this moment: by topic and name, and who of them stays, by name."""

    capacity: Capacity
    by_topic: dict[str, dict[str, Crew]] = field(default_factory=dict)
    members: dict[str, list[Record]] = field(default_factory=dict)


class Victims:
    """Who is drained first: least work to lose; among equals on the emptiest node, so that Ray can remove it; then the
    youngest.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = records
        self._crowd: Counter[str | None] | None = None  # workers by node, counted once somebody has to choose

    def in_turn(self, candidates: Sequence[Record]) -> list[Record]:
        """The candidates, whoever goes first before the others."""
        if len(candidates) < 2:
            return list(candidates)
        if self._crowd is None:
            self._crowd = Counter(record.place_id for record in self._records)
        crowd = self._crowd
        return sorted(
            candidates,
            key=lambda r: (
                0 if r.report is None else r.report.running_count,
                0 if r.report is None else r.report.held_count,
                crowd[r.place_id],
                -r.since_s,
            ),
        )


def without(records: Sequence[Record], apart: Mapping[Size, Sequence[Record]]) -> list[Record]:
    """Those of ``records`` that are not ``apart``."""
    names = {record.worker for those in apart.values() for record in those}
    return [record for record in records if record.worker not in names]


def crew_of(
    size: Size, target: int, staying: Sequence[Record], leaving: Sequence[Record], *, is_movable: bool = False
) -> Crew:
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
