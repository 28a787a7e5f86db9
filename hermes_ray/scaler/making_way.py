"""Old workers that leave so that new ones find room, where a roll-out has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hermes_ray.core.model import Capacity
from hermes_ray.core.moves import Moves
from hermes_ray.core.placement import plan_moves
from hermes_ray.core.resources import fit_count, size_of, take
from hermes_ray.scaler.crews import Crews, Victims, without
from hermes_ray.scaler.record import Record
from hermes_ray.scaler.rollout import Rollout
from hermes_ray.scaler.start_backoff import MAX_BACKOFF_S
from hermes_ray.scaler.workforce import Workforce

__all__ = ["MakingWay"]

_LEAST_WHAT_IFS, _WHAT_IF_WORK = 2, 2_000  # in one look, and how many topics and nodes all of them may look at
_WHAT_IF_AGAIN_S = 60.0  # who was told no asks again, or later, where so many were that others would have no turn


@dataclass(frozen=True, slots=True)
class _GivenRoom:
    """Old workers left for a new one, this one last, when ``proven_count`` of the new had shown that they work."""

    worker: str
    at_s: float
    proven_count: int


class MakingWay:
    """``standing``: what keeps a roll-out from going on, by topic, as far as this look has come."""

    def __init__(self, workforce: Workforce) -> None:
        self._force = workforce
        self._given: dict[str, _GivenRoom] = {}
        self._no_use_until_s: dict[str, float] = {}
        self._what_ifs_left = 0
        self._crews, self._victims = Crews(Capacity(nodes=())), Victims(())
        self.standing: dict[str, str] = {}
        self._ways: dict[str, tuple[int, float]] = {}  # found for a next new worker: how many there were, when

    def begin(self, crews: Crews, victims: Victims) -> None:
        """Another look."""
        self._crews, self._victims = crews, victims
        self._what_ifs_left = max(_LEAST_WHAT_IFS, _WHAT_IF_WORK // (len(crews.by_topic) + len(crews.capacity.nodes)))
        self.standing.clear()

    def leaving(self, topic: str, old: Sequence[Record], rollout: Rollout, now_s: float) -> list[Record]:
        """Who of the ``old`` is to leave for one more new worker.

        Where the room that the last ones left was taken, not the next as well.
        """
        given = self._given.get(topic)
        # Code that fails is not to cost one after the other.
        pause_s = MAX_BACKOFF_S * (1 + self._force.backoffs[topic].failures)
        if given is not None and rollout.proven_count == given.proven_count and now_s - given.at_s < pause_s:
            text = f"the room that worker {given.worker} left was taken"
            self.standing[topic] = f"{text}; the roll-out waits for room, 5 minutes at least"
            return []
        of_now = without(old, self._force.former(topic, now_s))
        leaving = self._victims.in_turn(of_now)[:1] or self._in_the_way(topic, old, rollout, now_s)
        if leaving:
            self._given[topic] = _GivenRoom(leaving[-1].worker, now_s, rollout.proven_count)
        elif now_s < self._no_use_until_s.get(topic, now_s):
            self.standing[topic] = "no node for a new worker, whoever of the old ones left; the roll-out waits for room"
        return leaving

    def is_expected(self, topic: str, rollout: Rollout, leaving_count: int, now_s: float) -> bool:
        """Whether one more new worker is to have a place beside the old ones that stay: a way was found for it, and
        those that leave are not long gone.
        """
        new_count, since_s = self._ways.get(topic, (-1, now_s))
        if rollout.old_count == 0 or new_count != rollout.new_count:
            return False
        if leaving_count:
            self._ways[topic] = new_count, now_s
        return now_s - since_s < _WHAT_IF_AGAIN_S

    def _in_the_way(self, topic: str, old: Sequence[Record], rollout: Rollout, now_s: float) -> list[Record]:
        """Those whose going makes room for one more new one of another size; none where nobody's would, or it is only
        others that have to move.

        Others' old workers may be in the way, which wait for code that does not start.
        """
        if not self._what_ifs_left or now_s < self._no_use_until_s.get(topic, now_s):
            return []
        self._what_ifs_left -= 1
        crews, members = self._crews.by_topic, self._crews.members
        others = {name: crew for other, own in crews.items() if other != topic for name, crew in own.items()}
        alone = replace(crews[topic][topic], target=rollout.new_count + 1)
        spare = {name: replace(crew, target=0) for name, crew in crews[topic].items() if name != topic}
        moves, leaving = plan_moves({**others, **spare, topic: alone}, self._crews.capacity), list[Record]()
        for name in spare:
            for node_id, count in moves.drains.get(name, {}).items():
                leaving += self._victims.in_turn([r for r in members[name] if r.place_id == node_id])[:count]
        if topic not in moves.places:
            moves = plan_moves({**others, topic: alone}, self._crews.capacity)
            leaving = self._not_beside(old, moves) if topic in moves.places else []
        self._note(topic, rollout.new_count, is_way=topic in moves.places, now_s=now_s)
        return leaving

    def _note(self, topic: str, new_count: int, *, is_way: bool, now_s: float) -> None:
        self._no_use_until_s = {
            other: until_s for other, until_s in self._no_use_until_s.items() if now_s - until_s < _WHAT_IF_AGAIN_S
        }
        self._ways.pop(topic, None)
        self._no_use_until_s.pop(topic, None)
        if is_way:
            self._ways[topic] = new_count, now_s
        else:
            self._no_use_until_s[topic] = now_s + max(_WHAT_IF_AGAIN_S, float(len(self._no_use_until_s)))

    def _not_beside(self, old: Sequence[Record], moves: Moves) -> list[Record]:
        """Those of ``old``, who were left out when this was planned, that have no room beside what comes to nodes."""
        leaving: list[Record] = []
        for node_id in dict.fromkeys(node_id for places in moves.places.values() for node_id in places):
            free = dict(moves.room.later.get(node_id, {}))
            for record in reversed(self._victims.in_turn([r for r in old if r.place_id == node_id])):
                if fit_count(free, size := size_of(self._force.size(record))):
                    take(free, size)
                else:
                    leaving.append(record)
        return leaving
