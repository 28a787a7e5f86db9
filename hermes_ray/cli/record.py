"""What was seen of a deployment: its last status, every topic over time, each decision, and what befell the scaler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Mark", "Moment", "Recording", "thinned"]

SILENT_S = 4.0  # asked twice a second or once, a scaler that is there has answered by then
STEPS_S = (0.5, 1, 2, 3, 5, 8, 10, 15, 20, 30, 60, 120, 300, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One topic ``at_s`` seconds after the record began; unknown is None."""

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
    """A decision that changed a target, ``at_s`` seconds after the record began."""

    at_s: float
    before: int
    target: int
    text: str


class Recording:
    """Grows by ``add``; one thread adds, others may read.

    ``zero_s``: Unix time from which moments count; ``kept_count``: of the moments and of the decisions of a topic, at
    least the last so many are kept, None for all. ``states`` is the last status, by topic.
    """

    def __init__(self, topics: Iterable[str] = (), zero_s: float = 0.0, kept_count: int | None = None) -> None:
        self.zero_s = zero_s
        self.moments: dict[str, list[Moment]] = {topic: [] for topic in topics}
        self.marks: dict[str, list[Mark]] = {topic: [] for topic in self.moments}
        self.states: Mapping[str, Mapping[str, Any]] = {}
        self.status: Mapping[str, Any] | None = None
        self.heard_s: float | None = None
        self._kept_count = kept_count
        self._news: tuple[float, str] | None = None

    def add(self, status: Mapping[str, Any], now_s: float) -> None:
        """Take an answer of ``Deployment.status`` that arrived at ``now_s`` (Unix time)."""
        self._compare(status, now_s)
        for topic, state in status["topics"].items():
            moments, marks = self.moments.setdefault(topic, []), self.marks.setdefault(topic, [])
            last = state["last_decision"]
            if last is not None and (not marks or marks[-1].at_s != last["at"] - self.zero_s):
                marks.append(
                    Mark(at_s=last["at"] - self.zero_s, before=last["from"], target=last["to"], text=last["text"])
                )
            moments.append(_moment(state, now_s - self.zero_s))
            self._trim(moments)
            self._trim(marks)
        self.states, self.status, self.heard_s = status["topics"], status, now_s

    def now(self, topic: str) -> Moment | None:
        """The last moment of a topic."""
        moments = self.moments.get(topic)
        return moments[-1] if moments else None

    @property
    def is_empty(self) -> bool:
        """Whether every topic was empty when last seen."""
        return all((moment := self.now(topic)) is not None and moment.is_empty for topic in self.moments)

    def peak_workers(self, topic: str) -> int:
        """The most workers that consumed at once."""
        return max((moment.observed for moment in self.moments[topic]), default=0)

    def news(self, now_s: float, for_s: float) -> str | None:
        """What a person should know of the scaler: that it is silent, or what befell it in the last ``for_s``."""
        if self.heard_s is not None and now_s - self.heard_s > SILENT_S:
            silent_s = now_s - self.heard_s
            return f"no answer for {silent_s:.0f} s: the scaler restarts, or an apply replaces it; workers go on"
        if self._news is None or now_s - self._news[0] > for_s:
            return None
        return f"{self._news[1]} {now_s - self._news[0]:.0f} s ago"

    def _compare(self, status: Mapping[str, Any], now_s: float) -> None:
        before = self.status
        if before is None or self.heard_s is None:
            return
        if status.get("generation") != before.get("generation"):
            self._news = now_s, "a configuration was applied"
        elif status.get("started_at") != before.get("started_at"):
            self._news = now_s, "the scaler was restarted"
        elif now_s - self.heard_s > SILENT_S:
            self._news = now_s, f"after {now_s - self.heard_s:.0f} s of silence the scaler answered again"

    def _trim(self, rows: list[Any]) -> None:
        if self._kept_count is not None and len(rows) >= 2 * self._kept_count:
            del rows[: -self._kept_count]


def thinned(moments: Sequence[Moment], count: int) -> list[Moment]:
    """At most ``count`` of the moments, evenly over time; the last one is always among them.

    Time is cut into steps counted from 0, and the last moment of each is taken: as time goes on, those taken before
    stay, until the steps grow. 60 moments a second apart with a count of 25 are those at 2, 5, 8 ... 59 s.
    """
    if not moments:
        return []
    first_s, last_s = moments[0].at_s, moments[-1].at_s
    step_s = next((step for step in STEPS_S if last_s // step - first_s // step < count), last_s - first_s + 1)
    taken = {moment.at_s // step_s: moment for moment in moments}
    return list(taken.values())[-count:]


def _moment(state: Mapping[str, Any], at_s: float) -> Moment:
    keys = ("depth", "held", "retrying", "arrival_rate_hz", "wait_p95_s")
    workers = ("observed", "starting", "draining", "target")
    return Moment(at_s=at_s, **{key: state[key] for key in keys}, **{key: state["workers"][key] for key in workers})
