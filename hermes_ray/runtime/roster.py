"""Who works: every worker the scaler knows, what each last reported, and the sums the policy sees."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hermes_ray.core.histogram import add, subtract
from hermes_ray.core.model import Arrived, Probe, Totals, WorkerCounts
from hermes_ray.runtime.worker import REPORT_VERSION

__all__ = ["Departure", "Record", "Roster"]

Report = Mapping[str, Any]

SILENT_S = 3.0


@dataclass(slots=True)
class Record:
    """One living worker. ``base``: its totals when first seen, if it was not started by this scaler."""

    worker: str
    topic: str
    since_s: float
    adopted: bool
    report: Report | None = None
    reported_s: float | None = None
    before: tuple[float, float] | None = None  # when the report before this one came, and what it had taken
    base: Report | None = None
    drain_asked_s: float | None = None
    drain_by_s: float | None = None
    failed: bool = False  # its start did; what is left of it is on its way out

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
        return 0 if self.report is None else self.report["held"] + _left(self.report) - _left(self.base)

    def taken_at(self, at_s: float) -> float:
        """``taken`` at a moment of the last report interval, in proportion; the nearest report's outside of it."""
        if self.reported_s is None or at_s >= self.reported_s:
            return self.taken
        from_s, taken = self.before or (self.since_s, self.taken if self.adopted else 0)
        if at_s <= from_s:
            return taken
        return taken + (self.taken - taken) * (at_s - from_s) / (self.reported_s - from_s)

    def number(self, key: str) -> float:
        """A reported number, 0 before the first report."""
        return 0 if self.report is None else self.report[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A worker that is gone; ``expected`` if it was draining, ``killed_count`` handlers its end cut short."""

    record: Record
    expected: bool
    killed_count: int


@dataclass(slots=True)
class _Departed:
    """Totals of a topic's workers that are gone."""

    left: int = 0
    finished: int = 0
    busy_s: float = 0.0
    service: tuple[int, ...] = ()
    wait: tuple[int, ...] = ()
    retried: int = 0
    dead_lettered: int = 0


class Roster:
    """Living workers by name and the running sums of those that left. A late or repeated report changes nothing."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._records: dict[str, Record] = {}
        self._departed: dict[str, _Departed] = {topic: _Departed() for topic in topics}

    def started(self, worker: str, now_s: float) -> None:
        """We asked for this worker."""
        self._records[worker] = Record(worker, _topic(worker), now_s, adopted=False)

    def take(self, report: Report, now_s: float) -> None:
        """A report arrived; of a version we do not know it only shows that the worker lives."""
        record = self._records.get(report["worker"])
        if record is None:
            return
        if report.get("version") != REPORT_VERSION:
            record.reported_s = now_s
            return
        if record.report is None or report["seq"] > record.report["seq"]:
            if record.report is not None and record.reported_s is not None:
                record.before = (record.reported_s, record.taken)
            record.reported_s = now_s
            record.report = report
            if record.adopted and record.base is None:
                record.base = report

    def sync(self, living: Collection[str], now_s: float) -> list[Departure]:
        """Match the records with the actors there are: adopts the unknown, returns those that are gone."""
        for worker in living:
            if worker not in self._records and _topic(worker) in self._departed:
                self._records[worker] = Record(worker, _topic(worker), now_s, adopted=True)
        gone = [record for name, record in self._records.items() if name not in living]
        return [self._depart(record) for record in gone]

    def of(self, topic: str) -> list[Record]:
        """The living workers of a topic, oldest first."""
        return [record for record in self._records.values() if record.topic == topic]

    def all(self) -> list[Record]:
        """Every living worker, oldest first."""
        return list(self._records.values())

    def get(self, worker: str) -> Record | None:
        return self._records.get(worker)

    def is_complete(self, topic: str, now_s: float, patience_s: float = 5.0) -> bool:
        """Whether sums over this topic mean something: every adopted worker has reported, or had time enough."""
        return all(r.report is not None or not r.adopted or now_s - r.since_s > patience_s for r in self.of(topic))

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
        taken = self._departed[topic].left + sum(r.taken_at(probe.at_s) for r in self.of(topic))
        return Arrived(at_s=probe.at_s, count=probe.ready_count + probe.retrying_count + taken)

    def counts(self, topic: str) -> WorkerCounts:
        """Workers by state; one whose connection is lost is on its way back: starting."""
        records = self.of(topic)
        draining = sum(r.is_draining for r in records)
        observed = sum(not r.is_draining and r.phase == "consuming" for r in records)
        return WorkerCounts(observed=observed, starting=len(records) - draining - observed, draining=draining)

    def totals(self, topic: str) -> Totals:
        """Departed workers plus living ones, less what adopted ones did before they were adopted."""
        past = self._departed[topic]
        left, finished, busy_s = past.left, past.finished, past.busy_s
        service, wait = past.service, past.wait
        held = running = 0
        longest_s = 0.0
        for record in self.of(topic):
            if (report := record.report) is None:
                continue
            held += report["held"]
            running += report["running"]
            longest_s = max(longest_s, report["longest_running_s"])
            left += _left(report) - _left(record.base)
            finished += report["finished"] - _of(record.base, "finished")
            busy_s += max(0.0, report["busy_s"] - _of(record.base, "busy_s"))
            service = add(service, _since(report, record.base, "service"))
            wait = add(wait, _since(report, record.base, "wait"))
        return Totals(
            held_count=held,
            running_count=running,
            longest_running_s=longest_s,
            left_count=left,
            finished_count=finished,
            busy_s=busy_s,
            service=service,
            wait=wait,
        )

    def settled(self, topic: str) -> dict[str, int]:
        """Cumulative ``retried`` and ``dead_lettered`` of a topic."""
        past = self._departed[topic]
        totals = {"retried": past.retried, "dead_lettered": past.dead_lettered}
        for record in self.of(topic):
            for key in totals:
                totals[key] += int(record.number(key) - _of(record.base, key))
        return totals

    def _depart(self, record: Record) -> Departure:
        del self._records[record.worker]
        past, report, base = self._departed[record.topic], record.report, record.base
        killed = 0
        if report is not None:
            past.left += _left(report) - _left(base)
            past.finished += report["finished"] - _of(base, "finished")
            past.busy_s += max(0.0, report["busy_s"] - _of(base, "busy_s"))
            past.service = add(past.service, _since(report, base, "service"))
            past.wait = add(past.wait, _since(report, base, "wait"))
            past.retried += report["retried"] - _of(base, "retried")
            past.dead_lettered += report["dead_lettered"] - _of(base, "dead_lettered")
            killed = report["killed"] if report["phase"] == "drained" else report["running"]
        return Departure(record=record, expected=record.is_draining, killed_count=killed)


def _topic(worker: str) -> str:
    return worker.rpartition("/")[0]


def _left(report: Report | None) -> int:
    return 0 if report is None else report["acked"] + report["dead_lettered"]


def _of(report: Report | None, key: str) -> Any:
    return 0 if report is None else report[key]


def _since(report: Report, base: Report | None, key: str) -> tuple[int, ...]:
    return tuple(report[key]) if base is None else subtract(tuple(report[key]), tuple(base[key]))
