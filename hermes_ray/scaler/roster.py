"""Who works: every worker the scaler knows, what each last reported, and what all of a topic together have counted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hermes_ray.core.arrivals import SILENT_INTERVALS, Taken, arrived
from hermes_ray.core.model import Arrived, Probe, Totals
from hermes_ray.core.resources import Resources
from hermes_ray.scaler.memory import WorkerMemory
from hermes_ray.scaler.record import Record, new_record, restored_record
from hermes_ray.worker.counters import Counters, plus
from hermes_ray.worker.report import Phase, Report, UnknownReport

__all__ = ["Departure", "Roster"]

PATIENCE_S, PATIENCE_INTERVALS = 5.0, 2.0
SHORT_INTERVALS = 0.25  # reports that are late by less than that may as well have come in time
LATE_REPORTS_S = 3.0  # until the calls that waited for us are answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A worker that is gone; ``expected`` if it was draining or ended by us, ``killed_count`` handlers cut short."""

    record: Record
    expected: bool
    killed_count: int


@dataclass(slots=True)
class _Topic:
    """One topic: its living workers by name, and what all it ever had have counted."""

    records: dict[str, Record] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    totals: Totals | None = None  # None: to be added up anew, like the takings
    takings: list[Taken] | None = None
    left: list[Taken] = field(default_factory=list)  # those of workers that left lately
    # Not heard of since this scaler was away, or at all: since when we listen.
    unheard: dict[str, float] = field(default_factory=dict)
    late: list[Taken] = field(default_factory=list)  # what silent ones had taken by when they were heard again


class Roster:
    """Living workers by name and the counters of their topics. A late or repeated report changes nothing.

    One goes on from another's ``counters`` and ``remembered`` workers, at ``now_s``, when that one was ``away_s`` ago.
    """

    def __init__(
        self,
        counters: Mapping[str, Counters] | None = None,
        remembered: Iterable[WorkerMemory] = (),
        now_s: float = 0.0,
        away_s: float = 0.0,
    ) -> None:
        self._records: dict[str, Record] = {}
        self._topics: dict[str, _Topic] = {
            topic: _Topic(counters=counted) for topic, counted in (counters or {}).items()
        }
        self._changed: set[str] = set()
        for memory in remembered:
            record = self._add(restored_record(memory, now_s, away_s))
            if memory.silent_since_s is None and (memory.adopted or memory.reported_s is not None):
                self._topic(record.topic).unheard[memory.worker] = now_s

    # What happens

    def started(
        self,
        worker: str,
        now_s: float,
        node_id: str | None = None,
        size: Resources | None = None,
        revision: str = "",
    ) -> Record:
        """We asked for this worker, that takes ``size`` and is of this ``revision``, on this node."""
        record = new_record(worker, now_s)
        record.asked_node_id, record.size, record.revision = node_id, None if size is None else dict(size), revision
        return self._add(record)

    def take(self, report: Report | UnknownReport, now_s: float, interval_s: float = 1.0) -> None:
        """A report arrived; of a version we do not know it only shows that the worker lives."""
        record = self._records.get(report.worker)
        if record is None:
            return
        topic = self._topic(record.topic)
        silent, before = now_s - record.heard_s > SILENT_INTERVALS * interval_s, (record.reported_s, record.taken)
        record.heard_s, record.silent_since_s = now_s, None
        if not record.is_late(now_s):
            topic.unheard.pop(record.worker, None)
        if isinstance(report, UnknownReport):
            record.reported_s = now_s
        elif record.report is None or report.seq > record.report.seq:
            counted = record.hear(report, now_s, interval_s)
            topic.totals = topic.takings = None
            if counted is not None:
                topic.counters = plus(topic.counters, counted)
                if silent and before[0] is not None:
                    topic.late.append(Taken(before[0], before[1], now_s, record.taken))
        self._changed.add(record.worker)

    def sync(self, living: Collection[str], now_s: float) -> list[Departure]:
        """Match the records with the actors there are: adopts the unknown, returns those that are gone.

        Adopted are only those that stay until the next look: a name may be listed for a moment after its actor's end.
        """
        names = living if isinstance(living, set | frozenset) else set(living)
        for worker in names - self._records.keys():
            record = new_record(worker, now_s)
            record.adopted = True
            self._add(record)
            self._topic(record.topic).unheard[worker] = now_s
        return [self._depart(self._records[worker]) for worker in self._records.keys() - names]

    def note(self, record: Record) -> None:
        """What we have asked of a worker is to be remembered."""
        self._changed.add(record.worker)

    def take_changed(self) -> tuple[list[WorkerMemory], list[str]]:
        """The workers that changed since the last call, and the names of those that are gone."""
        changed, self._changed = self._changed, set()
        known = [self._records[name] for name in changed if name in self._records]
        return [record.remembered() for record in known], [name for name in changed if name not in self._records]

    def remembered(self) -> list[WorkerMemory]:
        """All living workers."""
        return [record.remembered() for record in self._records.values()]

    def was_away(self, away_s: float, now_s: float, interval_s: float = 1.0) -> None:
        """Nobody has listened for so long: that was no silence, and what the workers say first is of that time too.

        Reports are waited for, unless it was short beside ``interval_s``. Where some are already, no longer than those,
        and not anew for as long again: who stands still time after time would never look at what there is. Time that
        nobody listened is none that was waited.
        """
        is_short = away_s <= SHORT_INTERVALS * interval_s
        for topic in self._topics.values():
            topic.unheard = {worker: min(now_s, since_s + away_s) for worker, since_s in topic.unheard.items()}
            since_s = min(topic.unheard.values(), default=now_s)
            since_s = now_s if now_s - since_s > 2 * _patience_s(interval_s) else since_s
            for record in topic.records.values():
                self._was_away_from(record, away_s, now_s)
                if record.reported_s is not None and record.silent_since_s is None and not is_short:
                    topic.unheard[record.worker] = since_s

    def _was_away_from(self, record: Record, away_s: float, now_s: float) -> None:
        record.heard_s = min(now_s, record.heard_s + away_s)
        record.late_s = (now_s - away_s, now_s + LATE_REPORTS_S)
        if record.not_consuming_since_s is not None:
            record.not_consuming_since_s = min(now_s, record.not_consuming_since_s + away_s)
        if record.reported_s is None:
            record.since_s = min(now_s, record.since_s + away_s)
        elif record.silent_since_s is not None:
            record.silent_since_s = record.heard_s
            self.note(record)

    # Looks

    def __len__(self) -> int:
        return len(self._records)

    def of(self, topic: str) -> Collection[Record]:
        """The living workers of a topic, oldest first."""
        found = self._topics.get(topic)
        return () if found is None else found.records.values()

    def all(self) -> list[Record]:
        """Every living worker, oldest first."""
        return list(self._records.values())

    def get(self, worker: str) -> Record | None:
        return self._records.get(worker)

    def topics(self) -> list[str]:
        """The topics that have living workers."""
        return [name for name, topic in self._topics.items() if topic.records]

    def counters(self, topic: str) -> Counters:
        """What all workers the topic ever had have counted, less what adopted ones did before they were adopted."""
        return self._topic(topic).counters

    def is_complete(self, topic: str, now_s: float, interval_s: float = 1.0) -> bool:
        """Whether totals over this topic are of now: every worker that was there before us has reported, or had time
        enough. Those of a scaler before us would make all that was settled since look like arrivals of this second.

        What it reported to that scaler lately is as good as told to us, unless reports had to wait for us since.
        """
        patience_s, recent_s = _patience_s(interval_s), now_s - SILENT_INTERVALS * interval_s
        for worker, since_s in self._topic(topic).unheard.items():
            record = self._records[worker]
            is_recent = record.late_s is None and record.reported_s is not None and record.reported_s > recent_s
            if now_s - since_s <= patience_s and not is_recent:
                return False
        return True

    def arrived(self, topic: str, probes: Sequence[Probe], now_s: float, interval_s: float = 1.0) -> Arrived | None:
        """Arrivals as of the latest of ``probes`` that every worker's reports cover, None if there is none."""
        found = self._topic(topic)
        if found.takings is None:
            found.takings = [r.takings for r in found.records.values() if r.takings is not None]
        if found.left:
            since_s = now_s - SILENT_INTERVALS * interval_s
            found.left = [taken for taken in found.left if taken.to_s > since_s]
        counted = sum(r.settled_count for r in found.records.values()) + sum(taken.to_count for taken in found.left)
        return arrived(
            probes,
            found.takings,
            now_s,
            report_interval_s=interval_s,
            gone=found.left,
            gone_count=found.counters.settlements.settled - counted,
        )

    def take_late(self, topic: str) -> list[Taken]:
        """What workers took while they were silent, of those that have reported again since the last call."""
        found = self._topic(topic)
        late, found.late = found.late, []
        return late

    def totals(self, topic: str) -> Totals:
        """What the policy sees of a topic's workers."""
        found = self._topic(topic)
        if found.totals is None:
            reports = [r.report for r in found.records.values() if r.report is not None]
            runs = found.counters.runs
            found.totals = Totals(
                held_count=sum(report.held_count for report in reports),
                running_count=sum(report.running_count for report in reports),
                longest_running_s=max((report.longest_running_s for report in reports), default=0.0),
                settled_count=found.counters.settlements.settled,
                finished_count=runs.finished,
                finished_s=runs.finished_s or None,
                busy_s=runs.busy_s,
                service=runs.service,
                wait=runs.wait,
            )
        return found.totals

    def wait_rungs_ms(self, topic: str) -> set[int]:
        """The delays whose wait queues the topic's living workers have made."""
        return {rung for r in self.of(topic) if r.report is not None for rung in r.report.wait_rungs_ms}

    def report_lag_s(self, topic: str, now_s: float) -> float | None:
        """The age of the oldest last report of a living worker, None if none has reported."""
        return max((now_s - r.reported_s for r in self.of(topic) if r.reported_s is not None), default=None)

    def _topic(self, name: str) -> _Topic:
        return self._topics.setdefault(name, _Topic())

    def _add(self, record: Record) -> Record:
        self._records[record.worker] = record
        topic = self._topic(record.topic)
        topic.records[record.worker] = record
        topic.totals = topic.takings = None
        self._changed.add(record.worker)
        return record

    def _depart(self, record: Record) -> Departure:
        del self._records[record.worker]
        topic = self._topic(record.topic)
        del topic.records[record.worker]
        topic.unheard.pop(record.worker, None)
        topic.totals = topic.takings = None
        if record.takings is not None:
            # What it held is ready again; what it settled is counted in proportion as long as probes reach back so far.
            topic.left.append(record.takings._replace(to_count=float(record.settled_count)))
        self._changed.add(record.worker)
        killed, report = 0, record.report
        if report is not None:
            killed = report.killed_count if report.phase is Phase.DRAINED else report.running_count
        is_expected = record.is_draining or record.kill_asked_s is not None
        return Departure(record=record, expected=is_expected, killed_count=killed)


def _patience_s(interval_s: float) -> float:
    """How long reports are waited for."""
    return max(PATIENCE_S, PATIENCE_INTERVALS * interval_s)
