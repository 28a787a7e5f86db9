"""Messages that ever arrived, counted for one moment: a depth, and what workers had taken off the queue by then.

Depths are asked once a second, workers report each 1 to 40 s, each at a time of its own. A fresh depth beside totals of
an interval ago would miss what was taken in between, so what a worker had taken is interpolated between its reports,
and arrivals are counted for the latest probe that all of these cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hermes_ray.core.looks import LEAST_SPACING_S
from hermes_ray.core.model import Arrived, Probe

__all__ = ["SILENT_INTERVALS", "Taken", "arrived", "with_probe"]

SILENT_INTERVALS = 3.0
_SPACING_INTERVALS = 0.1


class Taken(NamedTuple):
    """Deliveries a worker had off the queue for good, those it holds included, at its last reports.

    Two of them, and ``before_s`` the one before: with reports and depths of each second, the latest depth that the
    reports of all cover may lie before the last two of one, and a worker takes all that it can hold as it starts.
    """

    from_s: float
    from_count: float
    to_s: float
    to_count: float
    before_s: float | None = None
    before_count: float = 0.0

    def at(self, at_s: float) -> float:
        """The count at a moment between two reports, in proportion; the nearest one's outside of them."""
        if at_s >= self.to_s:
            return self.to_count
        if at_s >= self.from_s:
            return _between(self.from_s, self.from_count, self.to_s, self.to_count, at_s)
        if self.before_s is None:
            return self.from_count
        return _between(self.before_s, self.before_count, self.from_s, self.from_count, max(self.before_s, at_s))


def _between(from_s: float, from_count: float, to_s: float, to_count: float, at_s: float) -> float:
    return to_count if to_s <= from_s else from_count + (to_count - from_count) * (at_s - from_s) / (to_s - from_s)


def with_probe(probes: tuple[Probe, ...], probe: Probe, *, report_interval_s: float) -> tuple[Probe, ...]:
    """The probes with a newer one, oldest first: as far back as reports may be, a tenth of an interval apart.

    The newest is always among them. A probe that is not newer changes nothing. At 20 s that is 61 s in 32 probes.
    """
    if probes and probe.at_s <= probes[-1].at_s:
        return probes
    spacing_s = max(LEAST_SPACING_S, _SPACING_INTERVALS * report_interval_s)
    oldest_s = probe.at_s - SILENT_INTERVALS * report_interval_s - spacing_s
    kept = probes[:-1] if len(probes) > 1 and probes[-1].at_s < probes[-2].at_s + spacing_s else probes
    first = 0
    while first < len(kept) and kept[first].at_s < oldest_s:
        first += 1
    return (*kept[first:], probe)


def arrived(
    probes: Sequence[Probe],
    living: Sequence[Taken],
    now_s: float,
    *,
    report_interval_s: float,
    gone: Sequence[Taken] = (),
    gone_count: float = 0.0,
) -> Arrived | None:
    """Arrivals as of the latest of ``probes`` that the reports of the ``living`` workers cover; None if there is none.

    A worker silent for more than 3 report intervals is not waited for: it counts as it last said. ``gone``: workers
    that left within that time and reported nothing since; ``gone_count``: what all before them had taken.

    A worker that had taken 100 at 10 s and 140 at 30 s had taken 120 at 20 s; with 7 ready then, 127 had arrived.
    """
    since_s = now_s - SILENT_INTERVALS * report_interval_s
    covered_s = min((taken.to_s for taken in living if taken.to_s >= since_s), default=now_s)
    for probe in reversed(probes):
        if since_s < probe.at_s <= covered_s:
            at_s = probe.at_s
            count = probe.ready_count + probe.retrying_count + gone_count
            for taken in living:
                count += taken.at(at_s)
            for taken in gone:
                count += taken.at(at_s)
            return Arrived(at_s=at_s, count=count)
    return None
