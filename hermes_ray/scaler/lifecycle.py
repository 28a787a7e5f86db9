"""What a worker is good for now, and what ends each state: no state is without a deadline.

* Asked for, not heard of: it reports, or is killed after 120 s, a failed start; told to drain, after 4 s: Ray may never
  place it, and the order waits for its constructor.
* Silent (its process hangs or is stopped, a partition): said after 3 report intervals, replaced after 60 s, killed
  after ``silent_timeout_s``: a handler that holds the interpreter in C looks the same and is not killed sooner.
* It reports and does not consume (the broker refuses it): said after 3 intervals, drained and replaced after 60 s; not
  replaced where the broker refuses the scaler too, since another worker would do no better.
* Draining: it ends, or is killed 30 s after its drain deadline, which no repeated order moves.
* Drained and still there (the call that ends it was lost): killed after 10 s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from hermes_ray.core.model import WorkerCounts
from hermes_ray.scaler.record import Record
from hermes_ray.scaler.start_backoff import EARLY_DEATH_S
from hermes_ray.worker.report import Phase

__all__ = ["DRAIN_GRACE_S", "REPLACED_AFTER_S", "START_DEADLINE_S", "Limits", "Overdue", "Team"]
__all__ += ["is_given_up", "is_proven", "is_silent", "overdue", "silence_s", "team_of"]

START_DEADLINE_S = 120.0  # to be placed and to consume; a handler that loads a model takes its time
REPLACED_AFTER_S = 60.0
SAID_AFTER_INTERVALS = 3.0
LEAST_SILENCE_S = 3.0
DRAIN_GRACE_S = 30.0  # a worker ends itself at its drain deadline; one that is there this much later hangs
LAST_WORDS_S = 10.0
UNWANTED_AFTER_S = 4.0  # before the order is repeated; a worker that is up has taken it by then


class Overdue(StrEnum):
    """What a worker's deadline asks for."""

    START_FAILED = "start_failed"  # kill it: it never came up
    SILENT = "silent"  # kill it: it has been silent for too long
    UNWANTED = "unwanted"  # kill it: it is not up yet, and nobody wants it any more
    HUNG = "hung"  # kill it: it did not end by its drain deadline, or after its last word
    NOT_CONSUMING = "not_consuming"  # drain it: it holds nothing, and another may do better


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``report_interval_s`` of the deployment, ``silent_timeout_s`` of the topic.

    ``reachable_since_s``: since when the broker has answered the scaler about this topic, None while it does not. Then
    nobody is blamed for not consuming. ``is_refused``: it answers the scaler with a refusal too, so that another worker
    would do no better: it is said, and nobody is replaced for it.
    """

    report_interval_s: float
    silent_timeout_s: float
    reachable_since_s: float | None
    is_refused: bool = False
    said_after_s: float = field(init=False)
    killed_after_s: float = field(init=False)
    replaced_after_s: float = field(init=False)

    def __post_init__(self) -> None:
        said_after_s = max(LEAST_SILENCE_S, SAID_AFTER_INTERVALS * self.report_interval_s)
        for name, least_s in (("said", 0.0), ("killed", self.silent_timeout_s), ("replaced", REPLACED_AFTER_S)):
            object.__setattr__(self, f"{name}_after_s", max(least_s, said_after_s))


@dataclass(slots=True)
class Team:
    """The workers of one topic by what they are good for; a worker is in one of ``staying``, ``leaving``, ``given_up``.

    ``given_up`` ones live, but are replaced: they are silent or do not consume. ``silent`` and ``not_consuming`` are
    those that a person should hear of, whatever list they are in; ``unheard`` are the silent ones of ``staying``.
    ``unmovable`` are messages that all of them hold and the broker takes back in no form, ``hung`` their handlers that
    do not return while others do.
    """

    staying: list[Record] = field(default_factory=list)
    leaving: list[Record] = field(default_factory=list)
    given_up: list[Record] = field(default_factory=list)
    consuming_count: int = 0
    slot_count: int = 0
    silent_count: int = 0
    unheard_count: int = 0
    not_consuming_count: int = 0
    unmovable_count: int = 0
    hung_count: int = 0

    @property
    def is_unheard(self) -> bool:
        """Whether nobody says anything: how fast messages arrive is not to be seen, but what the rate was is known."""
        return bool(self.staying) and self.unheard_count == len(self.staying)

    @property
    def counts(self) -> WorkerCounts:
        """Workers by state; one whose connection is lost is on its way back: starting."""
        return WorkerCounts(
            observed=self.consuming_count,
            starting=len(self.staying) - self.consuming_count,
            draining=len(self.leaving) + len(self.given_up),
        )


def silence_s(record: Record, now_s: float) -> float:
    """How long a worker that has reported once has not been heard of; 0 of one that is yet to report."""
    return 0.0 if record.reported_s is None else now_s - record.heard_s


def is_silent(record: Record, limits: Limits, now_s: float) -> bool:
    """Whether it has been silent for long enough to be said."""
    return silence_s(record, now_s) > limits.said_after_s


def is_given_up(record: Record, limits: Limits, now_s: float) -> bool:
    """Whether it has been silent for so long that another one takes its part; it holds its room until it is ended."""
    return silence_s(record, now_s) > limits.replaced_after_s


def not_consuming_s(record: Record, limits: Limits, now_s: float) -> float:
    """For how long a worker has reported and not consumed although the broker was there.

    A silent one may consume: it only says nothing.
    """
    since_s = record.not_consuming_since_s
    reachable_s = 0.0 if limits.is_refused else limits.reachable_since_s
    if since_s is None or reachable_s is None or is_silent(record, limits, now_s):
        return 0.0
    return now_s - max(since_s, reachable_s)


def team_of(records: Iterable[Record], limits: Limits, now_s: float) -> Team:
    """Sort the living workers of one topic, in one pass."""
    team, said_after_s, replaced_after_s = Team(), limits.said_after_s, limits.replaced_after_s
    for record in records:
        silent_s = silence_s(record, now_s)
        is_quiet = silent_s > said_after_s
        if record.report is not None:
            team.unmovable_count += record.report.unmovable_count
            team.hung_count += record.report.hung_count
        team.silent_count += is_quiet
        if record.failed or record.is_draining:
            team.leaving.append(record)
            continue
        team.not_consuming_count += not_consuming_s(record, limits, now_s) > said_after_s
        if silent_s > replaced_after_s or record.kill_asked_s is not None:
            team.given_up.append(record)
            continue
        team.staying.append(record)
        team.unheard_count += is_quiet
        if record.is_consuming and record.report is not None:
            team.consuming_count += 1
            team.slot_count += record.report.concurrency
    return team


def overdue(record: Record, limits: Limits, now_s: float) -> Overdue | None:
    """What is due for this worker now, None: nothing."""
    if record.reported_s is None and (record.drain_asked_s is None or not record.adopted):
        return _not_up(record, limits, now_s)
    if silence_s(record, now_s) > limits.killed_after_s:
        return Overdue.SILENT
    if record.report is not None and record.report.phase is Phase.DRAINED and now_s - record.heard_s > LAST_WORDS_S:
        return Overdue.HUNG
    if record.drain_by_s is not None and now_s > record.drain_by_s + DRAIN_GRACE_S:
        return Overdue.HUNG
    is_blamed = not record.is_draining and not limits.is_refused
    if is_blamed and not_consuming_s(record, limits, now_s) > limits.replaced_after_s:
        return Overdue.NOT_CONSUMING
    return None


def _not_up(record: Record, limits: Limits, now_s: float) -> Overdue | None:
    """What is due for a worker that has not said a word to this scaler; an adopted one was there before it."""
    if record.adopted:
        return Overdue.SILENT if now_s - record.heard_s > limits.killed_after_s else None
    if record.drain_asked_s is not None:
        return Overdue.UNWANTED if now_s - record.drain_asked_s > UNWANTED_AFTER_S else None
    is_late = not record.failed and now_s - record.since_s > START_DEADLINE_S
    return Overdue.START_FAILED if is_late else None


def is_proven(record: Record, limits: Limits, now_s: float) -> bool:
    """Whether a worker shows that it works: it is heard, consumes, and has settled a message or done so for 10 s.

    It has said so twice then: one that hangs after its first words has shown nothing.
    """
    since_s, reported_s = record.consuming_since_s, record.reported_s
    if not record.is_consuming or since_s is None or reported_s is None or is_silent(record, limits, now_s):
        return False
    return record.settled_count > 0 or (reported_s > since_s and now_s - since_s > EARLY_DEATH_S)
