"""What a person should know of a topic beside its figures, in words; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hermes_ray.cli.durations import duration_text
from hermes_ray.core.conditions import MEANINGS, Condition

__all__ = ["Remark", "remarks", "ruling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """``name`` says it in a word or two, ``text`` in a sentence that a topic and ``joint`` begin."""

    name: str
    text: str
    joint: str = " "
    style: str = "yellow"
    is_trouble: bool = True

    def of(self, topic: str) -> str:
        """The whole sentence, such as ``orders is paused until hermes resume orders``."""
        return f"{topic}{self.joint}{self.text}"


def remarks(topic: str, state: Mapping[str, Any], now_s: float) -> Iterator[Remark]:
    """What overrules the policy of ``topic`` and what is wrong with it; ``state``: its part of ``hermes status``."""
    if override := state["override"]:
        name = override["kind"] if override["count"] is None else f"{override['kind']} {override['count']}"
        yield Remark(name=name, text=_rule(topic, override, now_s), joint=" is ", style="cyan", is_trouble=False)
    for name in state["conditions"]:  # a scaler newer than this command may know others
        meaning = f": {MEANINGS[Condition(name)]}" if name in MEANINGS else ""
        yield Remark(name=name, text=f"{name}{meaning}")
    if state["start_error"]:
        yield Remark(name="no start", text=f"workers do not start: {state['start_error']}", joint=": ", style="red")
    if state["depth_error"]:
        yield Remark(name="no depth", text=f"its depth cannot be read: {state['depth_error']}", joint=": ", style="red")


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
