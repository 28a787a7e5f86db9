"""What is moved, and the moves: data of ``placement``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hermes_ray.core.resources import Size
from hermes_ray.core.room import Room

__all__ = ["Crew", "Moves"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The workers of one topic by node, None where it is unknown, and how many it shall have.

    ``staying`` ones work on, ``leaving`` ones hold their room until they are gone. ``held``: messages in hand by node.
    Workers of a topic whose starts fail, or whose new code is yet to show that it works (not ``is_movable``), are not
    moved: they might not come back; they leave for heavier ones that stand at nothing. ``minimum`` of them come before
    anybody's extras, the others by ``weight``.
    """

    size: Size
    target: int
    staying: Mapping[str | None, int] = field(default_factory=dict)
    leaving: Mapping[str | None, int] = field(default_factory=dict)
    held: Mapping[str | None, int] = field(default_factory=dict)
    is_movable: bool = True
    weight: float = 1.0
    minimum: int = 0

    def rank(self, number: int) -> tuple[bool, float]:
        """What the ``number``-th worker comes before, and after."""
        return number <= self.minimum, self.weight


@dataclass(slots=True)
class Moves:
    """What to do now.

    ``starts``: topic -> a node for each worker; ``drains``: topic -> node -> workers that go, surplus ones included;
    ``waiting``: topic -> workers that start once those that leave are gone; ``places``: the nodes of both; ``lacks``:
    what keeps a topic from its grant; ``unsearched``: what may keep it, if nobody can make room, which this look had no
    time to see; ``promised``: the workers that a topic will have for whom others go; ``pressed``: those for whom
    lighter ones go. ``room`` is what is left for others, such as the surge of a roll-out.
    """

    room: Room
    starts: dict[str, list[str]] = field(default_factory=dict)
    drains: dict[str, dict[str, int]] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    lacks: dict[str, str] = field(default_factory=dict)
    unsearched: dict[str, str] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)
    promised: dict[str, int] = field(default_factory=dict)
    pressed: set[str] = field(default_factory=set)

    def start(self, topic: str, node_id: str) -> None:
        """One more starts there now."""
        self.starts.setdefault(topic, []).append(node_id)
        self.places.setdefault(topic, []).append(node_id)

    def wait(self, topic: str, node_id: str) -> None:
        """One more starts there later."""
        self.waiting[topic] = self.waiting.get(topic, 0) + 1
        self.places.setdefault(topic, []).append(node_id)
