"""Bringing what there is to what is wanted: who starts where, who is drained, and how a roll-out goes on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from math import ceil

from hermes_ray.core.model import Capacity
from hermes_ray.core.moves import Crew, Moves
from hermes_ray.core.placement import plan_moves
from hermes_ray.core.resources import Size, fit_count, size_of
from hermes_ray.core.room import ANYWHERE
from hermes_ray.scaler.crews import Crews, Victims, crew_of, without
from hermes_ray.scaler.lifecycle import is_given_up
from hermes_ray.scaler.making_way import MakingWay
from hermes_ray.scaler.record import Record
from hermes_ray.scaler.rolling import NONE_WANTED, Rolling
from hermes_ray.scaler.rollout import Rollout, old_to_drain_count, wanted_new_count
from hermes_ray.scaler.room_made import RoomMade
from hermes_ray.scaler.start_backoff import MAX_BACKOFF_S
from hermes_ray.scaler.workforce import Workforce

__all__ = ["Reconciler"]

WAIT_SAID_S = 15.0  # for room that others leave; most handlers end sooner


class Reconciler:
    """Gives the orders that are missing.

    At the last look: ``missing`` are the topics that had too few workers, ``lacks`` what keeps one from its grant.
    """

    def __init__(self, workforce: Workforce) -> None:
        self._force, self._rolling = workforce, Rolling(workforce)
        self._making_way, self._room_made = MakingWay(workforce), RoomMade()
        self._all, self._victims = Crews(Capacity(nodes=())), Victims(())
        self._waiting_since_s: dict[str, float] = {}
        self._kept_s: dict[str, float] = {}
        self._clearing: set[str] = set()
        self.missing: set[str] = set()
        self.lacks: Mapping[str, str] = {}

    def reconcile(
        self,
        targets: Mapping[str, int],
        capacity: Capacity | None,
        now_s: float,
        kept: Collection[str] = (),
        wanted: Mapping[str, int] = NONE_WANTED,
    ) -> list[str]:
        """Start or drain workers so that each topic has its target, as far as there is room at this moment.

        Of the topics ``kept`` workers of a former size are wanted: none of the new has a place, no roll-out goes on.
        ``wanted``: see ``Rolling``.

        Returns a line for each order that could not be given, which costs none of the others, and for each topic whose
        grant has no place.
        """
        force, self._rolling.wanted = self._force, wanted
        self._kept_s |= dict.fromkeys(kept, now_s)
        self._victims = Victims(force.roster.all())
        self._end_left_out(now_s)
        if capacity is not None and capacity.draining:
            self._leave_nodes(capacity.draining, now_s)
        self.missing = {topic for topic, n in targets.items() if len(force.team(topic, now_s).staying) < n}
        rolling = {topic for topic in targets if any(map(force.is_outdated, force.team(topic, now_s).staying))}
        moves = None if capacity is None else self._plan(targets, rolling, capacity, now_s)
        for topic, target in targets.items():
            self._make_room(topic, moves, now_s)
            self._shrink(topic, target, moves, now_s)
            force.adapt(topic, now_s)
        self._repeat_drains(now_s)
        if moves is not None:
            self._clearing = self._nodes_that_clear((t for t, n in targets.items() if not n or t not in rolling), now_s)
            for topic in sorted(moves.starts.keys() | rolling, key=lambda name: (-force.params[name].weight, name)):
                if not self._is_kept(topic, now_s):
                    self._grow(topic, targets[topic], moves, now_s)
        return force.take_lines()

    def _plan(self, targets: Mapping[str, int], rolling: set[str], capacity: Capacity, now_s: float) -> Moves | None:
        """Where to start, and who stands in the way; None where there is nothing to start."""
        if not rolling and not self.missing:
            self.lacks = {}
            self._waiting_since_s.clear()
            self._room_made.nobody_lacks()
            return None
        self._all = Crews(capacity)
        self._all.by_topic = {topic: dict(self._crews(topic, n, now_s)) for topic, n in targets.items()}
        crews = {name: crew for own in self._all.by_topic.values() for name, crew in own.items()}
        made = self._room_made
        moves = plan_moves(crews, capacity, made.pressing(now_s), made.promised(crews, now_s))
        below = {topic for topic, target in targets.items() if self._stands_below(topic, target, now_s)}
        shown = {topic for topic, since_s in made.pressed_s().items() if self._has_shown(topic, since_s, now_s)}
        made.note(moves, below, shown, now_s)
        waits = {t: f"no node for {n} more before workers that drain are gone" for t, n in moves.waiting.items()}
        self._say_lacks(moves, waits | moves.unsearched | self._making_way.standing, now_s)
        self._making_way.begin(self._all, self._victims)
        return moves

    def _say_lacks(self, moves: Moves, waits: Mapping[str, str], now_s: float) -> None:
        """Add to what is lacking what has kept others waiting for long; a line for each that is new."""
        self._waiting_since_s = {topic: self._waiting_since_s.get(topic, now_s) for topic in waits}
        for topic, since_s in self._waiting_since_s.items():
            if now_s - since_s > WAIT_SAID_S:
                moves.lacks.setdefault(topic, waits[topic])
        self._force.lines += [f"{topic}: {lack}" for topic, lack in moves.lacks.items() if topic not in self.lacks]
        self.lacks = moves.lacks

    def _stands_below(self, topic: str, target: int, now_s: float) -> bool:
        """Whether a first worker is missing, or one of the minimum, whose start may be tried."""
        least = min(target, max(1, self._force.params[topic].workers_min))
        return len(self._force.team(topic, now_s).staying) < least and now_s >= self._force.backoffs[topic].next_s

    def _is_kept(self, topic: str, now_s: float) -> bool:
        """Whether it was, a moment ago: room that has just come may go again, and with it what would leave for it."""
        return topic in self._kept_s and now_s - self._kept_s[topic] < WAIT_SAID_S

    def _has_shown(self, topic: str, since_s: float, now_s: float) -> bool:
        started = [record for record in self._force.team(topic, now_s).staying if record.since_s > since_s]
        return any(self._rolling.has_shown(record, now_s) for record in started)

    def _crews(self, topic: str, target: int, now_s: float) -> Iterator[tuple[str, Crew]]:
        """The topic's workers by what they take, those ``_apart`` as crews of their own that nobody adds to."""
        force, params = self._force, self._force.params[topic]
        size = size_of(params.worker)
        rollout = self._rolling.rollout(topic, target, now_s)
        team, apart = force.team(topic, now_s), self._apart(topic, rollout, now_s)
        leaving: dict[Size, list[Record]] = {}
        limits = force.limits(topic)
        for record in (*team.leaving, *team.given_up):
            if not record.holds_nothing and not is_given_up(record, limits, now_s):
                leaving.setdefault(size_of(force.size(record)), []).append(record)
        self._all.members[topic] = staying = without(team.staying, apart)
        is_movable = not force.backoffs[topic].failures and not rollout.is_canary_time
        apart_count = sum(map(len, apart.values()))
        rest = max(0, target - ceil(apart_count / rollout.old_per_new - 1e-9))
        is_kept = self._is_kept(topic, now_s)
        if not is_kept and self._making_way.is_expected(topic, rollout, len(team.leaving), now_s):
            rest = max(rest, min(target, len(staying) + 1))
        if force.backoffs[topic].failures:
            rest = min(rest, len(staying) + 1)  # nobody moves for those that are not started before one has worked
        crew = crew_of(size, rest, staying, leaving.pop(size, ()), is_movable=is_movable)
        yield topic, replace(crew, weight=params.weight, minimum=max(0, params.workers_min - apart_count))
        spare_count, minimum = 0 if is_kept else rollout.spare_count, params.workers_min
        for n, own in enumerate(dict.fromkeys((*apart, *leaving))):
            name, here = f"{topic}/{n}", apart.get(own, [])
            self._all.members[name], kept_count = here, max(0, len(here) - spare_count)
            spare_count -= len(here) - kept_count
            least, minimum = min(minimum, len(here)), max(0, minimum - len(here))
            yield (
                name,
                replace(crew_of(own, kept_count, here, leaving.get(own, ())), weight=params.weight, minimum=least),
            )

    def _apart(self, topic: str, rollout: Rollout, now_s: float) -> dict[Size, list[Record]]:
        """Old workers that leave as the roll-out goes on, and to make room only where they are to spare, by what they
        take: those of a former size, and all of them while new code is yet to show that it works.
        """
        if not rollout.is_canary_time:
            return self._force.former(topic, now_s)
        apart: dict[Size, list[Record]] = {}
        for record in self._rolling.parted(topic, now_s)[0]:
            apart.setdefault(size_of(self._force.size(record)), []).append(record)
        return apart

    def _make_room(self, topic: str, moves: Moves | None, now_s: float) -> None:
        """Drain who stands in the way of others; in a roll-out first who does no work yet, then who is old."""
        if moves is None:
            return

        def by_use(record: Record) -> int:
            return 1 if self._force.is_outdated(record) else 2 * self._rolling.has_shown(record, now_s)

        for name in self._all.by_topic[topic]:
            for node_id, count in moves.drains.get(name, {}).items():
                here = [record for record in self._all.members[name] if record.place_id == node_id]
                for record in sorted(self._victims.in_turn(here), key=by_use)[:count]:
                    self._drain(record, now_s)

    def _leave_nodes(self, node_ids: frozenset[str], now_s: float) -> None:
        """Drain workers on nodes that Ray is about to remove: others start elsewhere before it kills them."""
        for topic in self._force.params:
            for record in list(self._force.team(topic, now_s).staying):
                if record.place_id in node_ids:
                    self._drain(record, now_s)

    def _drain(self, record: Record, now_s: float) -> None:
        self._force.drain(record, now_s + self._force.drain_timeout_s(record.topic), now_s)

    def _shrink(self, topic: str, target: int, moves: Moves | None, now_s: float) -> None:
        old, new = self._rolling.parted(topic, now_s)
        old_count = old_to_drain_count(self._rolling.rollout(topic, target, now_s)) if old else 0
        for candidates, count in ((old, old_count), (new, max(0, len(new) - target))):
            for record in self._victims.in_turn(candidates)[:count]:
                self._drain(record, now_s)
                if moves is not None and record.place_id is not None:
                    moves.room.will_leave(size_of(self._force.size(record)), record.place_id)

    def _grow(self, topic: str, target: int, moves: Moves, now_s: float) -> None:
        """Start what is missing where there is a place for it; a roll-out starts more in what room is left.

        Where a new worker does not fit beside old ones, make room by draining one of those.
        """
        old, new = self._rolling.parted(topic, now_s)
        rollout = self._rolling.rollout(topic, target, now_s)
        missing = startable = self._startable(topic, wanted_new_count(rollout) - len(new), target, now_s)
        places, size = list(moves.starts.get(topic, ())), size_of(self._force.params[topic].worker)
        while missing > 0:
            node_id = places.pop(0) if places else moves.room.start(size) if old else None
            if node_id is None:
                break
            if not self._force.start(topic, None if node_id == ANYWHERE else node_id, now_s):
                return
            missing -= 1
        if missing <= 0 or not old:
            return
        # Beside workers of a former size numbers say nothing: four small ones may be wanted in the room of a large one.
        is_one_missing = len(old) + len(new) < target and not self._force.former(topic, now_s)
        is_room_coming = (
            topic in moves.waiting
            or bool(self._force.team(topic, now_s).leaving)
            or any(fit_count(moves.room.later.get(node_id, {}), size) for node_id in self._clearing)
        )
        if (
            is_room_coming
            or (is_one_missing and topic not in moves.lacks)
            or missing != startable
            or len(new) != rollout.proven_count
        ):
            return
        for record in self._making_way.leaving(topic, old, rollout, now_s):
            self._drain(record, now_s)

    def _nodes_that_clear(self, topics: Iterable[str], now_s: float) -> set[str]:
        """Where workers of ``topics`` leave, which have no new ones to start in their room."""
        leaving = (record for topic in topics for record in self._force.team(topic, now_s).leaving)
        return {record.place_id for record in leaving if record.place_id is not None}

    def _startable(self, topic: str, missing: int, target: int, now_s: float) -> int:
        """How many of the ``missing`` may be started now: after a failure one shows whether the others can start.

        Silent ones are replaced, but with them there are never more than twice ``workers.max`` of one code: what
        silences each of them would fill the cluster with processes that do nothing. Where nobody is left, one tries
        every 5 minutes.
        """
        force, backoff = self._force, self._force.backoffs[topic]
        staying = [record for record in force.team(topic, now_s).staying if not force.is_outdated(record)]
        given_up = [record for record in force.team(topic, now_s).given_up if not force.is_outdated(record)]
        if now_s < backoff.next_s:
            return 0
        if backoff.failures:
            return 0 if backoff.is_trying(record.since_s for record in staying) else min(missing, 1)
        most = 2 * max(target, force.params[topic].workers_max) - len(staying) - len(given_up)
        if most <= 0 and not staying:
            return int(now_s - max((record.since_s for record in given_up), default=0.0) > MAX_BACKOFF_S)
        return max(0, min(missing, most))

    def _end_left_out(self, now_s: float) -> None:
        """Drain the workers of topics that are no longer configured."""
        for topic in self._force.roster.topics():
            if topic in self._force.params:
                continue
            for record in list(self._force.roster.of(topic)):
                if record.reported_s is None and not record.adopted:
                    self._force.kill(record, now_s)  # it may wait for a place that it never gets
                elif record.drain_by_s is None:
                    self._drain(record, now_s)

    def _repeat_drains(self, now_s: float) -> None:
        for topic in self._force.roster.topics():
            for record in self._force.team(topic, now_s).leaving:
                self._force.drain_again(record, now_s)
