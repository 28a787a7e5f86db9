"""One living worker: what it last reported, what it was asked to do, and since when it is as it is."""

from __future__ import annotations

from msgspec import structs

from hermes_ray.core.arrivals import Taken
from hermes_ray.scaler.memory import WorkerMemory
from hermes_ray.worker.counters import Counters, since
from hermes_ray.worker.report import Phase, Report

__all__ = ["Record", "new_record", "restored_record"]

_APART_INTERVALS, _LONGEST_INTERVALS = 0.8, 2.0
REMEMBERED = WorkerMemory.__struct_fields__


class Record(WorkerMemory, kw_only=True, eq=False):
    """One living worker: what is remembered of it, and what only this scaler knows.

    ``heard_s``: when it last said anything, of whatever version, or when we began to listen. ``consuming_since_s`` and
    ``not_consuming_since_s``: since when it reports the one or the other. ``late_s``: from when to when reports came
    that had waited for a scaler that stood still: of what time they are is not known.
    """

    topic: str
    heard_s: float
    adapt_asked_s: float | None = None
    kill_asked_s: float | None = None
    consuming_since_s: float | None = None
    not_consuming_since_s: float | None = None
    late_s: tuple[float, float] | None = None

    @property
    def is_draining(self) -> bool:
        return self.drain_asked_s is not None or (
            self.report is not None and self.report.phase in (Phase.DRAINING, Phase.DRAINED)
        )

    @property
    def is_consuming(self) -> bool:
        return self.report is not None and self.report.phase is Phase.CONSUMING

    @property
    def phase(self) -> str:
        """``starting`` until the first report, then what the worker says."""
        return "starting" if self.report is None else str(self.report.phase)

    @property
    def node_id(self) -> str | None:
        return None if self.report is None else self.report.node_id

    @property
    def place_id(self) -> str | None:
        """The node it works on, or was asked to start on until it says; None where neither is known."""
        return self.node_id or self.asked_node_id

    @property
    def holds_nothing(self) -> bool:
        """Whether it takes no room: its start has failed or was taken back, Ray may list it for a moment yet."""
        return self.report is None and (self.failed or self.kill_asked_s is not None)

    @property
    def taken(self) -> float:
        """Deliveries it has had off the queue for good since it was first seen: those it holds and those that left."""
        return 0.0 if self.report is None else self.report.held_count + self.settled_count

    @property
    def takings(self) -> Taken | None:
        """``taken`` at its last three reports, None before the first; one of ours began with nothing."""
        if self.reported_s is None:
            return None
        return Taken(*self._before, self.reported_s, self.taken, self.earlier_s, self.earlier_taken)

    @property
    def _before(self) -> tuple[float, float]:
        if self.before_s is None:
            return self.since_s, self.taken if self.adopted else 0.0
        return self.before_s, self.before_taken

    def is_late(self, reported_s: float) -> bool:
        """Whether a report that came then had waited for us: of what time it is is not known."""
        return self.late_s is not None and self.late_s[0] <= reported_s <= self.late_s[1]

    def hear(self, report: Report, now_s: float, interval_s: float) -> Counters | None:
        """Take a newer report; returns what it adds to the topic's counters, None where that is not known.

        Of a worker that was there before us we cannot tell: its counters count from its first report on.
        """
        counted = report.counters if self.report is None else since(report.counters, self.report.counters)
        is_first_of_adopted = self.adopted and self.report is None
        if self.reported_s is not None and self._is_interval_over(self.reported_s, now_s, interval_s):
            self.earlier_s, self.earlier_taken = self._before
            self.before_s, self.before_taken = self.reported_s, self.taken
        self._note_phase(report.phase, now_s)
        self.report, self.reported_s = report, now_s
        if is_first_of_adopted:
            return None
        self.settled_count += counted.settlements.settled
        return counted

    def _is_interval_over(self, reported_s: float, now_s: float, interval_s: float) -> bool:
        """Whether the last report is one to interpolate from: old enough, which one just before a worker's end is not,
        and of a known time.
        """
        if self.is_late(reported_s):
            return False
        from_s = self.since_s if self.before_s is None else self.before_s
        return now_s - reported_s >= _APART_INTERVALS * interval_s or now_s - from_s > _LONGEST_INTERVALS * interval_s

    def _note_phase(self, phase: Phase, now_s: float) -> None:
        if phase is Phase.CONSUMING:
            self.not_consuming_since_s = None
            self.consuming_since_s = now_s if self.consuming_since_s is None else self.consuming_since_s
        elif phase is Phase.CONNECTING:
            self.consuming_since_s = None
            self.not_consuming_since_s = self.not_consuming_since_s or now_s

    def remembered(self) -> WorkerMemory:
        """What the next scaler has to know of it."""
        return WorkerMemory(**{name: getattr(self, name) for name in REMEMBERED})


def new_record(worker: str, now_s: float) -> Record:
    """The record of a worker that was asked for, or is seen for the first time, now."""
    return Record(worker=worker, topic=worker.rpartition("/")[0], since_s=now_s, heard_s=now_s)


def restored_record(memory: WorkerMemory, now_s: float, away_s: float) -> Record:
    """The record of a worker of before. Time while nobody was there to listen, ``away_s``, is no silence, and no time
    that a start took.
    """
    is_consuming = memory.report is not None and memory.report.phase is Phase.CONSUMING
    heard_s = now_s if memory.silent_since_s is None else min(now_s, memory.silent_since_s + away_s)
    since_s = memory.since_s if memory.reported_s is not None else min(now_s, memory.since_s + away_s)
    silent_since_s = None if memory.silent_since_s is None else heard_s
    return Record(
        **structs.asdict(memory) | {"silent_since_s": silent_since_s, "since_s": since_s},
        topic=memory.worker.rpartition("/")[0],
        heard_s=heard_s,
        consuming_since_s=memory.reported_s if is_consuming else None,
    )
