"""From grants to moves: where new workers start, who has to make room for them, and what keeps a worker from a place.

Living workers stay where they are. A missing worker goes where there is room now, else where there will be once those
that leave are gone: their room is free only then, and it is kept for the one that waits. Where neither is, whoever
stands in the way on one node is drained and started again on another: the node where the fewest workers have to move,
then where the least is held. Surplus workers go first and cost nothing. Grants have a packing, but it may take more
than one such step, or workers that cannot move now: for whom that would keep at nothing for long, lighter ones go.

Two nodes of 4 CPUs with two workers of 1 CPU each, and one of 4 CPUs to start: the two of one node are drained and
start on the other. Once they are drained they leave, so that the next look finds the place taken care
of, and orders nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from types import MappingProxyType

from hermes_ray.core.model import Capacity
from hermes_ray.core.moves import Crew, Moves
from hermes_ray.core.resources import Size, fit_count, shortage, take
from hermes_ray.core.room import Room

__all__ = ["plan_moves"]

NOBODY_PRESSES: Mapping[str, bool] = MappingProxyType({})
NOBODY_PROMISED: Mapping[str, int] = MappingProxyType({})

_MOST_SEARCHES = 16  # for somebody to move, in one look; whoever is left is looked after by the next
_MOST_EVICTIONS = 64  # that are tried in one search, the cheapest of all nodes'


def plan_moves(
    crews: Mapping[str, Crew],
    capacity: Capacity,
    pressing: Mapping[str, bool] = NOBODY_PRESSES,
    promised: Mapping[str, int] = NOBODY_PROMISED,
) -> Moves:
    """What brings every topic to its grant; surplus that hinders nobody is not among it.

    For the first worker of ``pressing`` topics, or the first up to their minimum, lighter ones leave that find no place
    elsewhere; also those that might not come back, for whom it is True. Nobody else leaves for a topic that has fewer
    workers than it is ``promised``, since others have gone for it lately: other work on the cluster takes the room.
    """
    return _Planner(crews, capacity, pressing, promised).plan()


@dataclass(frozen=True, slots=True)
class _Eviction:
    """Whose workers leave ``node_id``: topics with repetition; ``moved`` ones have to have a place elsewhere."""

    node_id: str
    surplus: tuple[str, ...]
    moved: tuple[str, ...]
    given: tuple[str, ...]
    held: float

    @property
    def cost(self) -> tuple[int, float, int, str]:
        return (len(self.moved) + len(self.given), self.held, len(self.surplus), self.node_id)


class _Way(Enum):
    """Whom to try to send away, after those that are surplus: who has a place elsewhere, or who is lighter; last those
    who might not come back.
    """

    LARGEST = auto()
    SMALLEST = auto()
    LIGHTER = auto()
    ANY_LIGHTER = auto()

    @property
    def is_by_weight(self) -> bool:
        return self in (_Way.LIGHTER, _Way.ANY_LIGHTER)


class _Planner:
    def __init__(
        self,
        crews: Mapping[str, Crew],
        capacity: Capacity,
        pressing: Mapping[str, bool],
        promised: Mapping[str, int],
    ) -> None:
        self._crews, self._pressing, self._promised = crews, pressing, promised
        self._counts = {topic: sum(crew.staying.values()) for topic, crew in crews.items()}
        self._surplus = {topic: max(0, self._counts[topic] - crew.target) for topic, crew in crews.items()}
        self._staying: dict[str, dict[str, int]] = {}  # node -> topic -> workers that may be told to go
        self._searches_left = _MOST_SEARCHES
        self._immovable: set[tuple[Size, int]] = set()  # for whom none of so many ways was found
        self._homes: dict[Size, tuple[str, ...]] = {}  # two nodes where one fits, at this search
        self._moves = Moves(room=Room(capacity))
        room = self._moves.room
        for is_known in (True, False):  # the places that are known first: the others are guessed beside them
            for topic, crew in crews.items():
                for workers, is_staying in ((crew.staying, True), (crew.leaving, False)):
                    for node_id, count in workers.items():
                        if (node_id is not None) is is_known:
                            room.hold(self._crews[topic].size, node_id, count, is_staying=is_staying)

    def plan(self) -> Moves:
        missing = {t: n for t, crew in self._crews.items() if (n := crew.target - self._counts[t]) > 0}
        for topic in sorted(missing, key=self._turn):
            self._place(topic, missing[topic])
        return self._moves

    def _turn(self, topic: str) -> tuple[bool, bool, float, float, str]:
        """Who is pressing first, since room was made for it; then the largest."""
        is_pressing, (is_least, weight) = self._is_pressing(topic), self._crews[topic].rank(self._counts[topic] + 1)
        by_rank = (not is_least, -weight) if is_pressing else (False, 0.0)
        return (not is_pressing, *by_rank, self._share(topic), topic)

    def _way_count(self, topic: str) -> int:
        """How many of the ways are open to it."""
        return 2 if not self._is_pressing(topic) else 4 if self._pressing[topic] else 3

    def _is_pressing(self, topic: str) -> bool:
        return topic in self._pressing and self._counts[topic] < max(1, self._crews[topic].minimum)

    def _share(self, topic: str) -> float:
        """Largest first, measured by the node that has most of each resource: what is small fits beside it."""
        most: dict[str, int] = {}
        size = self._crews[topic].size
        for free in self._moves.room.now.values():
            for name, _ in size:
                most[name] = max(most.get(name, 1), free.get(name, 0))
        return -max((amount / most.get(name, 1) for name, amount in size), default=0.0)

    def _place(self, topic: str, count: int) -> None:
        size, room = self._crews[topic].size, self._moves.room
        for left in range(count, 0, -1):
            if (node_id := room.start(size)) is not None:
                self._moves.start(topic, node_id)
            elif (node_id := room.wait(size) or self._make_room(topic, size)) is not None:
                self._moves.wait(topic, node_id)
            elif not self._searches_left and (size, self._way_count(topic)) not in self._immovable:
                self._moves.unsearched[topic] = self._lack(size, left)
                return
            else:
                self._moves.lacks[topic] = self._lack(size, left)
                return
            self._counts[topic] += 1

    def _lack(self, size: Size, count: int) -> str:
        short = shortage(self._moves.room.later.values(), size)
        return f"no node for {count} more: {short}"

    def _make_room(self, topic: str, size: Size) -> str | None:
        """Have whoever stands in the way go; the node, None where nobody could, or this look has done enough."""
        ways = tuple(_Way)[: self._way_count(topic)]
        is_taken = self._counts[topic] < self._promised.get(topic, 0)
        if is_taken or (size, len(ways)) in self._immovable or not self._searches_left:
            return None
        self._searches_left -= 1
        if not self._staying:
            self._look_around()
        self._homes.clear()
        for way in ways:
            found = (self._eviction(node_id, topic, size, way) for node_id in self._moves.room.later)
            for eviction in sorted(filter(None, found), key=lambda eviction: eviction.cost)[:_MOST_EVICTIONS]:
                if (homes := self._homes_elsewhere(eviction, size)) is not None:
                    self._evict(eviction, homes, size)
                    self._moves.promised[topic] = self._counts[topic] + 1
                    if eviction.given:
                        self._moves.pressed.add(topic)
                    return eviction.node_id
        self._immovable.add((size, len(ways)))
        return None

    def _look_around(self) -> None:
        for topic, crew in self._crews.items():
            for node_id, count in crew.staying.items():
                if node_id in self._moves.room.later and self._crews[topic].size:
                    self._staying.setdefault(node_id, {})[topic] = count

    def _eviction(self, node_id: str, topic: str, size: Size, way: _Way) -> _Eviction | None:
        """The fewest workers of others whose going makes room here: surplus ones, then others in this way."""
        free = dict(self._moves.room.later[node_id])
        gone: list[tuple[str, bool]] = []
        for name, is_surplus in self._candidates(node_id, topic, size, way):
            if fit_count(free, size):
                break
            if any(free.get(key, 0) < amount and key in dict(self._crews[name].size) for key, amount in size):
                take(free, self._crews[name].size, -1)
                gone.append((name, is_surplus))
        if not fit_count(free, size):
            return None
        for each in reversed(gone[:-1]):  # who came early may not be needed for what the later ones gave
            take(free, self._crews[each[0]].size)
            if fit_count(free, size):
                gone.remove(each)
            else:
                take(free, self._crews[each[0]].size, -1)
        others = tuple(name for name, is_surplus in gone if not is_surplus)
        moved, given = ((), others) if way.is_by_weight else (others, ())
        held = sum(self._held(name, node_id) for name, _ in gone)
        return _Eviction(node_id, tuple(name for name, is_surplus in gone if is_surplus), moved, given, held)

    def _candidates(self, node_id: str, topic: str, size: Size, way: _Way) -> Iterable[tuple[str, bool]]:
        here = {name: count for name, count in self._staying.get(node_id, {}).items() if name != topic and count > 0}
        wanted = dict(size)

        def in_turn(name: str) -> tuple[float, float, float, str]:
            part = max((min(1.0, n / wanted[key]) for key, n in self._crews[name].size if key in wanted), default=0.0)
            weight = self._crews[name].weight if way.is_by_weight else 0.0
            return (weight, part if way is _Way.SMALLEST else -part, self._held(name, node_id), name)

        in_order = sorted(here, key=in_turn)
        spare = {name: min(self._surplus[name], here[name]) for name in in_order}
        for name in in_order:
            yield from [(name, True)] * spare[name]
        for name in in_order:
            if self._crews[name].is_movable or way is _Way.ANY_LIGHTER:
                able = self._lighter_count(name, topic) if way.is_by_weight else self._can_move(name, node_id)
                yield from [(name, False)] * min(able, here[name] - spare[name])

    def _can_move(self, name: str, node_id: str) -> int:
        return self._counts[name] if self._has_home(self._crews[name].size, node_id) else 0

    def _lighter_count(self, name: str, topic: str) -> int:
        """Workers of ``name`` that come after the next one of ``topic``."""
        rank, crew = self._crews[topic].rank(self._counts[topic] + 1), self._crews[name]
        count = self._counts[name] - self._surplus[name]
        least = min(count, crew.minimum)
        return (count - least) * ((False, crew.weight) < rank) + least * ((True, crew.weight) < rank)

    def _has_home(self, size: Size, node_id: str) -> bool:
        """Whether one has a place on another node, for itself alone."""
        if size not in self._homes:
            fitting = (name for name, free in self._moves.room.later.items() if fit_count(free, size))
            self._homes[size] = tuple(islice(fitting, 2))
        return any(name != node_id for name in self._homes[size])

    def _held(self, topic: str, node_id: str) -> float:
        """Messages in hand of one worker of ``topic`` there, on average."""
        crew = self._crews[topic]
        return crew.held.get(node_id, 0) / max(1, crew.staying.get(node_id, 0))

    def _homes_elsewhere(self, eviction: _Eviction, size: Size) -> list[tuple[str, str]] | None:
        """Topic and node for each worker that has to move, None if one of them would find none."""
        changed = {eviction.node_id: dict(self._moves.room.later[eviction.node_id])}
        for name in (*eviction.moved, *eviction.given, *eviction.surplus):
            take(changed[eviction.node_id], self._crews[name].size, -1)
        take(changed[eviction.node_id], size)
        homes = []
        for name in sorted(eviction.moved, key=lambda name: (self._share(name), name)):
            for node_id, free in self._moves.room.later.items():
                left = changed.get(node_id, free)
                if fit_count(left, self._crews[name].size):
                    changed[node_id] = dict(left)
                    take(changed[node_id], self._crews[name].size)
                    homes.append((name, node_id))
                    break
            else:
                return None
        return homes

    def _evict(self, eviction: _Eviction, homes: Iterable[tuple[str, str]], size: Size) -> None:
        moves, node_id = self._moves, eviction.node_id
        for name in (*eviction.moved, *eviction.given, *eviction.surplus):
            drains = moves.drains.setdefault(name, {})
            drains[node_id] = drains.get(node_id, 0) + 1
            self._staying[node_id][name] -= 1
            moves.room.will_leave(self._crews[name].size, node_id)
        for name in eviction.surplus:
            self._surplus[name] -= 1
        for name in (*eviction.surplus, *eviction.given):
            self._counts[name] -= 1
        take(moves.room.later[node_id], size)
        for name, home in homes:
            take(moves.room.later[home], self._crews[name].size)
            if fit_count(moves.room.now[home], self._crews[name].size):
                take(moves.room.now[home], self._crews[name].size)
                moves.start(name, home)
            else:
                moves.wait(name, home)
