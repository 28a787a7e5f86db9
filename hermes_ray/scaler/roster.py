"""Who works: every worker the scaler knows, what each last reported, and the counters the policy sees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hermes_ray.core.model import Arrived, Probe, Totals, WorkerCounts
from hermes_ray.worker.counters import Counters, of_report, plus, since
from hermes_ray.worker.worker import REPORT_VERSION

__all__ = ["Departure", "Record", "Roster"]

Report = Mapping[str, Any]

SILENT_S = 3.0
FORGOTTEN = ("base", "counters", "unheard_since_s")  # rebuilt, or new with each scaler


@dataclass(slots=True, kw_only=True)
class Record:
    """One living worker. ``base``: its counters when first seen, if it was not started by this deployment's scaler."""

    worker: str
    since_s: float
    adopted: bool = False
    report: Mapping[str, Any] | None = None
    reported_s: float | None = None
    before_s: float | None = None  # when the report before this one came,
    before_taken: float = 0.0  # and what it had taken
    base: Counters | None = None
    drain_asked_s: float | None = None
    drain_by_s: float | None = None
    adapt_asked_s: float | None = None
    failed: bool = False  # its start did; what is left of it is on its way out
    counters: Counters = field(default_factory=Counters)
    unheard_since_s: float | None = None  # one this scaler did not start, and has yet to hear from

    @property
    def topic(self) -> str:
        return self.worker.rpartition("/")[0]

    @property
    def is_draining(self) -> bool:
        return self.drain_asked_s is not None or self.phase in ("draining", "drained")

    @property
    def phase(self) -> str:
        """``starting`` until the first report, then what the worker says."""
        return "starting" if self.report is None else str(self.report["phase"])

    @property
    def node_id(self) -> str | None:
        return None if self.report is None else self.report.get("node_id")

    @property
    def taken(self) -> float:
        """Deliveries it has had off the queue for good so far: those it holds and those that left through it."""
        return 0 if self.report is None else self.report["held"] + self.own.settled

    @property
    def own(self) -> Counters:
        """What it did since it was first seen."""
        return self.counters if self.base is None else since(self.counters, self.base)

    def hear(self, report: Report, now_s: float) -> None:
        """Take a newer report."""
        self.unheard_since_s = None
        if self.report is not None and self.reported_s is not None:
            self.before_s, self.before_taken = self.reported_s, self.taken
        self.report, self.reported_s, self.counters = report, now_s, of_report(report)
        if self.adopted and self.base is None:
            self.base = self.counters

    def taken_at(self, at_s: float) -> float:
        """``taken`` at a moment of the last report interval, in proportion; the nearest report's outside of it."""
        if self.reported_s is None or at_s >= self.reported_s:
            return self.taken
        if self.before_s is None:
            from_s, taken = self.since_s, self.taken if self.adopted else 0.0
        else:
            from_s, taken = self.before_s, self.before_taken
        if at_s <= from_s:
            return taken
        return taken + (self.taken - taken) * (at_s - from_s) / (self.reported_s - from_s)

    def number(self, key: str) -> float:
        """A reported number, 0 before the first report."""
        return 0 if self.report is None else self.report[key]


KEPT = tuple(entry.name for entry in fields(Record) if entry.name not in FORGOTTEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A worker that is gone; ``expected`` if it was draining, ``killed_count`` handlers its end cut short."""

    record: Record
    expected: bool
    killed_count: int


class Roster:
    """Living workers by name and the running counters of those that left. A late or repeated report changes nothing.

    One goes on from another's ``departed_counters`` and ``remembered`` workers, at ``now_s``.
    """

    def __init__(
        self,
        departed: Mapping[str, Counters] | None = None,
        records: Iterable[Mapping[str, Any]] = (),
        now_s: float = 0.0,
    ) -> None:
        self._records: dict[str, Record] = {}
        self._by_topic: defaultdict[str, list[Record]] = defaultdict(list)
        self._departed: defaultdict[str, Counters] = defaultdict(Counters, departed or {})
        for kept in records:
            self._add(_restored(kept, now_s))

    def remembered(self) -> list[dict[str, Any]]:
        """The living workers as plain data."""
        return [
            {
                **{name: getattr(record, name) for name in KEPT},
                "base": None
                if record.base is None
                else {f.name: getattr(record.base, f.name) for f in fields(Counters)},
            }
            for record in self._records.values()
        ]

    def departed_counters(self, topic: str) -> Counters:
        """What the topic's workers that are gone had done."""
        return self._departed[topic]

    def started(self, worker: str, now_s: float) -> None:
        """We asked for this worker."""
        self._add(Record(worker=worker, since_s=now_s))

    def take(self, report: Report, now_s: float) -> None:
        """A report arrived; of a version we do not know it only shows that the worker lives."""
        record = self._records.get(report["worker"])
        if record is None:
            return
        if report.get("version") != REPORT_VERSION:
            record.reported_s = now_s
        elif record.report is None or report["seq"] > record.report["seq"]:
            record.hear(report, now_s)

    def sync(self, living: Collection[str], now_s: float) -> list[Departure]:
        """Match the records with the actors there are: adopts the unknown, returns those that are gone."""
        for worker in living:
            if worker not in self._records:
                self._add(Record(worker=worker, since_s=now_s, adopted=True, unheard_since_s=now_s))
        gone = [record for name, record in self._records.items() if name not in living]
        return [self._depart(record) for record in gone]

    def of(self, topic: str) -> list[Record]:
        """The living workers of a topic, oldest first."""
        return list(self._by_topic[topic])

    def all(self) -> list[Record]:
        """Every living worker, oldest first."""
        return list(self._records.values())

    def get(self, worker: str) -> Record | None:
        return self._records.get(worker)

    def is_complete(self, topic: str, now_s: float, patience_s: float = 5.0) -> bool:
        """Whether totals over this topic are of now: every worker that was there before us has reported, or had time
        enough. Those of a scaler before us would make all that was settled since look like arrivals of this second.
        """
        return all(r.unheard_since_s is None or now_s - r.unheard_since_s > patience_s for r in self.of(topic))

    def arrived(self, topic: str, probes: Iterable[Probe], now_s: float) -> Arrived | None:
        """Arrivals as of the latest of ``probes`` that every worker's reports cover, None if there is none.

        A worker silent for more than 3 s is not waited for: it counts as it last said.
        """
        said_s = [r.reported_s for r in self.of(topic) if r.reported_s is not None]
        covered_s = min((at_s for at_s in said_s if at_s > now_s - SILENT_S), default=now_s)
        covered = [probe for probe in probes if now_s - SILENT_S < probe.at_s <= covered_s]
        if not covered:
            return None
        probe = max(covered, key=lambda probe: probe.at_s)
        taken = self._departed[topic].settled + sum(r.taken_at(probe.at_s) for r in self.of(topic))
        return Arrived(at_s=probe.at_s, count=probe.ready_count + probe.retrying_count + taken)

    def counts(self, topic: str) -> WorkerCounts:
        """Workers by state; one whose connection is lost is on its way back: starting."""
        records = self.of(topic)
        draining = sum(r.is_draining for r in records)
        observed = sum(not r.is_draining and r.phase == "consuming" for r in records)
        return WorkerCounts(observed=observed, starting=len(records) - draining - observed, draining=draining)

    def slot_count(self, topic: str) -> int:
        """Slots of the topic's consuming workers."""
        consuming = [r for r in self.of(topic) if not r.is_draining and r.phase == "consuming"]
        return sum(int(r.number("concurrency")) for r in consuming)

    def report_lag_s(self, topic: str, now_s: float) -> float | None:
        """The age of the oldest last report of a living worker, None if none has reported."""
        return max((now_s - r.reported_s for r in self.of(topic) if r.reported_s is not None), default=None)

    def counters(self, topic: str) -> Counters:
        """Departed workers plus living ones, less what adopted ones did before they were adopted."""
        total = self._departed[topic]
        for record in self.of(topic):
            total = plus(total, record.own)
        return total

    def totals(self, topic: str) -> Totals:
        """What the policy sees of a topic's workers."""
        counters, living = self.counters(topic), [r for r in self.of(topic) if r.report is not None]
        return Totals(
            held_count=int(sum(r.number("held") for r in living)),
            running_count=int(sum(r.number("running") for r in living)),
            longest_running_s=max((r.number("longest_running_s") for r in living), default=0.0),
            settled_count=counters.settled,
            finished_count=counters.finished,
            busy_s=counters.busy_s,
            service=counters.service,
            wait=counters.wait,
        )

    def _add(self, record: Record) -> None:
        self._records[record.worker] = record
        self._by_topic[record.topic].append(record)

    def _depart(self, record: Record) -> Departure:
        del self._records[record.worker]
        self._by_topic[record.topic].remove(record)
        killed, report = 0, record.report
        self._departed[record.topic] = plus(self._departed[record.topic], record.own)
        if report is not None:
            killed = report["killed"] if report["phase"] == "drained" else report["running"]
        return Departure(record=record, expected=record.is_draining, killed_count=killed)


def _restored(kept: Mapping[str, Any], now_s: float) -> Record:
    """The record of a worker of before; what another version remembered of it counts, but its report is not read."""
    known: dict[str, Any] = {name: kept[name] for name in KEPT if name in kept}
    report, base = known["report"], kept["base"]
    known["report"] = report if report is not None and report.get("version") == REPORT_VERSION else None
    return Record(
        **known,
        counters=Counters() if report is None else of_report(report),
        base=None if base is None else of_report(base),
        unheard_since_s=now_s,
    )
