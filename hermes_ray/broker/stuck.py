"""Deliveries whose retry or dead letter finds no place: they stay open, and are to be in nobody's way."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from hermes_ray.broker.settlement_counts import Kind
from hermes_ray.logs import Log

__all__ = ["Stuck"]

log = Log(__name__)

MOST_WAITING = 10_000  # for room, with what they are to leave behind
GO_ON_COUNT = 10  # at a time come again of those parked for room in one queue


@dataclass(frozen=True, slots=True)
class _Waiting:
    queue: str
    why: str
    give_up: Callable[[], None]


class Stuck:
    """Those of ``queue`` by delivery tag: ``parked``, as the broker takes them in no form, or waiting for room.

    ``requeue`` gives one of the parked back to the broker, by its tag; one that waits is told to ``give_up``, and says
    itself with ``wait_no_more`` that it has. ``in_all``: how many there have been. ``said``: how many there are, and
    why the first is, for any thread.
    """

    def __init__(self, queue: str, requeue: Callable[[int], object]) -> None:
        self.in_all = 0
        self.said: tuple[int, str | None] = 0, None
        self._queue = queue
        self._requeue = requeue
        # Ordered: of a dict that loses its first ones the next first is ever further away.
        self._parked: OrderedDict[int, str] = OrderedDict()  # and why, without the bodies: there may be many
        self._for_room: dict[str, OrderedDict[int, None]] = {}  # by queue, those parked since too many waited
        self._full: dict[int, str] = {}  # the queue of each of those
        self._open: set[str] = set()  # queues of them that have taken a message since they refused one
        self._dead: dict[int, Kind] = {}  # what is to become of those parked whose dead letter was refused
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._waiting_for: Counter[str] = Counter()
        self._is_ending = False

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._parked) + len(self._waiting)

    @property
    def parked_count(self) -> int:
        """How many of them can be moved nowhere."""
        return len(self._parked)

    @property
    def waiting_count(self) -> int:
        """How many of them wait for room."""
        return len(self._waiting)

    @property
    def has_dead(self) -> bool:
        """Whether there are some that the broker may move itself."""
        return bool(self._dead)

    @property
    def may_wait(self) -> bool:
        """Whether one more may wait for room, rather than be parked."""
        return len(self._waiting) < MOST_WAITING

    def park(self, tag: int, kind: Kind, why: str, full: str | None = None) -> None:
        """It can be moved nowhere, and is kept until shortly before the broker would take offence.

        Or, where a queue was ``full``, until that has taken another message.
        """
        log.warning("a message can be moved nowhere and stays in %s: %s", self._queue, why)
        self._parked[tag] = why
        if full is not None:
            self._for_room.setdefault(full, OrderedDict())[tag] = None
            self._full[tag] = full
        elif kind != "retried":
            self._dead[tag] = kind
        self.in_all += tag not in self._waiting
        self.wait_no_more(tag)
        self._say()
        if self._is_ending:
            self._give_back([tag])

    def wait(self, tag: int, queue: str, why: str, give_up: Callable[[], None]) -> None:
        """It waits for room in ``queue``."""
        if not self.is_without_room(queue):
            log.warning("messages wait until they find a place: %s", why)
        if (former := self._waiting.get(tag)) is None:
            self.in_all += 1
        else:
            self._waiting_for[former.queue] -= 1
        self._waiting_for[queue] += 1
        self._waiting[tag] = _Waiting(queue, why, give_up)
        self._say()
        if self._is_ending:
            give_up()

    def wait_no_more(self, tag: int) -> None:
        """It does not wait for room, or not any more."""
        if (waiting := self._waiting.pop(tag, None)) is not None:
            self._waiting_for[waiting.queue] -= 1
            self._say()

    def has_found_room(self, queue: str) -> None:
        """``queue`` has taken a message: those that were parked since it had no room ``go_on``."""
        if queue in self._for_room:
            self._open.add(queue)

    def has_no_room(self, queue: str) -> None:
        """It has refused one, or is not there."""
        self._open.discard(queue)

    def go_on(self) -> None:
        """Some of those for whom there may be room by now come again; called often."""
        for queue in list(self._open):
            self._give_back(list(islice(self._for_room.get(queue, ()), GO_ON_COUNT)))

    def is_waiting(self, tag: int) -> bool:
        """Whether it waits for room."""
        return tag in self._waiting

    def is_alone(self, tag: int, queue: str) -> bool:
        """Whether none but perhaps this one waits for room in ``queue``."""
        waiting = self._waiting.get(tag)
        return self._waiting_for[queue] == (waiting is not None and waiting.queue == queue)

    def is_without_room(self, queue: str) -> bool:
        """Whether others wait for room in ``queue``."""
        return self._waiting_for[queue] > 0

    def give_back_up_to(self, last_tag: int) -> None:
        """The broker soon takes back what came up to ``last_tag``: what is parked of it is given back before."""
        self._give_back([tag for tag in self._parked if tag <= last_tag])

    def take_dead(self) -> dict[int, Kind]:
        """The broker moves the dead itself: what is to be counted of each, which is parked no more."""
        taken, self._dead = self._dead, {}
        for tag in taken:
            del self._parked[tag]
        self._say()
        return taken

    def end(self) -> None:
        """Nothing is kept from now on: the end of this worker is not to wait for it."""
        self._is_ending = True
        self._give_back(list(self._parked))
        for each in list(self._waiting.values()):
            each.give_up()

    def clear(self) -> None:
        """The channel is gone, and the broker has all of them back."""
        self._parked.clear()
        self._dead.clear()
        self._for_room.clear()
        self._full.clear()
        self._open.clear()
        self._waiting_for.clear()
        self._waiting.clear()
        self._say()

    def _give_back(self, tags: Iterable[int]) -> None:
        for tag in tags:
            del self._parked[tag]
            self._dead.pop(tag, None)
            self._forget_room(tag)
            self._requeue(tag)
        self._say()

    def _forget_room(self, tag: int) -> None:
        queue = self._full.pop(tag, None)
        if queue is not None:
            del self._for_room[queue][tag]
            if not self._for_room[queue]:
                del self._for_room[queue]
                self._open.discard(queue)

    def _say(self) -> None:
        why = next(iter(self._parked.values()), None)
        if why is None and self._waiting:
            why = next(iter(self._waiting.values())).why
        self.said = self.count, why
