"""What the demo saw: the status of every topic over time, and each decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Mark", "Moment", "Record"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One topic ``at_s`` seconds after the load began; unknown is None."""

    at_s: float
    depth: int | None
    held: int | None
    retrying: int | None
    arrival_rate_hz: float | None
    wait_p95_s: float | None
    observed: int
    starting: int
    draining: int
    target: int | None

    @property
    def backlog(self) -> int | None:
        """Ready and held together."""
        return None if self.depth is None or self.held is None else self.depth + self.held

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the topic is left in the broker."""
        return self.depth == self.held == self.retrying == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A decision that changed a target, ``at_s`` seconds after the load began."""

    at_s: float
    before: int
    target: int
    text: str


class Record:
    """Grows by ``add``; one thread adds, others may read. ``zero_s``: Unix time at which the load begins."""

    def __init__(self, topics: Iterable[str], zero_s: float) -> None:
        self.zero_s = zero_s
        self.moments: dict[str, list[Moment]] = {topic: [] for topic in topics}
        self.marks: dict[str, list[Mark]] = {topic: [] for topic in self.moments}
        self.waits: dict[str, Mapping[str, float | None]] = {}
        self.retried: dict[str, int] = {}
        self._seen: dict[str, float] = {}

    def add(self, status: Mapping[str, Any], now_s: float) -> None:
        """Take an answer of ``Deployment.status`` that arrived at ``now_s`` (Unix time)."""
        for topic, state in status["topics"].items():
            self.waits[topic] = state["waits"]
            self.retried[topic] = state["retried"]
            last = state["last_decision"]
            if last is not None and last["at"] != self._seen.get(topic):
                self._seen[topic] = last["at"]
                self.marks[topic].append(
                    Mark(at_s=last["at"] - self.zero_s, before=last["from"], target=last["to"], text=last["text"])
                )
            self.moments[topic].append(_moment(state, now_s - self.zero_s))

    def now(self, topic: str) -> Moment | None:
        """The last moment of a topic."""
        return self.moments[topic][-1] if self.moments[topic] else None

    @property
    def is_empty(self) -> bool:
        """Whether every topic was empty when last seen."""
        return all((moment := self.now(topic)) is not None and moment.is_empty for topic in self.moments)

    def peak_workers(self, topic: str) -> int:
        """The most workers that consumed at once."""
        return max((moment.observed for moment in self.moments[topic]), default=0)


def _moment(state: Mapping[str, Any], at_s: float) -> Moment:
    keys = ("depth", "held", "retrying", "arrival_rate_hz", "wait_p95_s")
    return Moment(at_s=at_s, **{key: state[key] for key in keys}, **state["workers"])
