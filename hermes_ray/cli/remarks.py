"""What a person should know of a deployment and its topics beside their figures, in words; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hermes_ray.cli.durations import ago, duration_text
from hermes_ray.core.conditions import MEANINGS, Condition

__all__ = ["Remark", "headline", "metrics_place", "neighbours", "notices", "remarks", "ruling"]

NAMED_NEIGHBOURS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """``name`` says it in a word or two, ``text`` in a sentence that a topic and ``joint`` begin.

    ``severity``: 0 is somebody's will, 1 a condition, 2 something that does not work at all.
    """

    name: str
    text: str
    joint: str = " "
    severity: int = 1

    @property
    def style(self) -> str:
        """Its colour."""
        return ("cyan", "yellow", "red")[self.severity]

    def of(self, topic: str) -> str:
        """The whole sentence, such as ``orders is paused until hermes resume orders``."""
        return f"{topic}{self.joint}{self.text}"


def remarks(topic: str, state: Mapping[str, Any], now_s: float) -> Iterator[Remark]:
    """What overrules the policy of ``topic`` and what is wrong with it; ``state``: its part of ``hermes status``."""
    if override := state["override"]:
        name = override["kind"] if override["count"] is None else f"{override['kind']} {override['count']}"
        yield Remark(name=name, text=_rule(topic, override, now_s), joint=" is ", severity=0)
    if state.get("single_active"):
        text = "held at one worker and a standby, since its queue has a single active consumer"
        yield Remark(name="single active", text=text, joint=" is ", severity=0)
    for name in state["conditions"]:  # a scaler newer than this command may know others
        meaning = f": {MEANINGS[Condition(name)]}" if name in MEANINGS else ""
        yield Remark(name=name, text=f"{name}{meaning}")
    if state["start_error"]:
        yield Remark(name="no start", text=f"workers do not start: {state['start_error']}", joint=": ", severity=2)
    if state["depth_error"]:
        yield Remark(name="no depth", text=f"its depth cannot be read: {state['depth_error']}", joint=": ", severity=2)


def ruling(topic: str, override: Mapping[str, Any], now_s: float) -> str:
    """What an override of ``hermes status --json`` means: ``orders is pinned to 5 workers for 23 min more``."""
    return f"{topic} is {_rule(topic, override, now_s)}"


def _rule(topic: str, override: Mapping[str, Any], now_s: float) -> str:
    kind, count, until_s = override["kind"], override["count"], override["until"]
    if kind == "stopped":
        return "stopped until the next hermes apply or serve"
    workers = "" if count is None else f" to {count} worker{'' if count == 1 else 's'}"
    more = f"until hermes resume {topic}" if until_s is None else f"for {duration_text(max(0, until_s - now_s))} more"
    return f"{kind}{workers} {more}"


def headline(name: str, status: Mapping[str, Any], now_s: float) -> str:
    """What holds of the whole deployment: ``deployment hermes, applied 5 min ago, driver serve on HOST``."""
    driver = "no driver" if status["driver"] == "none" else f"driver {status['owner'] or status['driver']}"
    parts = [
        f"deployment {name}",
        f"applied {ago(status['applied_at'], now_s)}" if status["generation"] else "",
        driver,
        "stopping" if status["stopping"] else "",
    ]
    return ", ".join(filter(None, parts))


def notices(status: Mapping[str, Any], now_s: float) -> Iterator[str]:
    """What is to be noticed of the whole deployment, a sentence each."""
    yield from status["warnings"]
    stuck = {name: state for name, state in status["topics"].items() if state["start_error"] and state.get("outdated")}
    if stuck:
        working = sum(state["outdated"] for state in stuck.values())
        yield (
            f"the roll-out stands still, new workers of {', '.join(stuck)} do not start; {working} former "
            f"{'worker works' if working == 1 else 'workers work'} on: {_way_out(status, now_s)}"
        )


def _way_out(status: Mapping[str, Any], now_s: float) -> str:
    if former := status.get("former"):
        return f"hermes rollback goes back to what was applied {ago(former['applied_at'], now_s)}"
    return "apply code that starts"


def neighbours(status: Mapping[str, Any]) -> str:
    """The other deployments of the cluster in a sentence, empty if there are none."""
    others = status.get("others", [])
    if not others:
        return ""
    more = f" and {len(others) - NAMED_NEIGHBOURS} more" if len(others) > NAMED_NEIGHBOURS else ""
    return (
        f"also on this cluster: {', '.join(others[:NAMED_NEIGHBOURS])}{more}, with workers that take room too: "
        f"hermes status deployment.name={others[0]}"
    )


def metrics_place(status: Mapping[str, Any]) -> str:
    """Where the metrics are, or that there are none."""
    return f"metrics {status['metrics_url']}" if status["metrics_url"] else "no metrics"
