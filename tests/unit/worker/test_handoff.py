from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator

import pytest

from hermes_ray.broker.delivery import Delivery
from hermes_ray.worker.handoff import Handoff
from tests.support.deliveries import delivery
from tests.support.ledger import until


def deliveries(first: int, last: int) -> list[Delivery]:
    return [delivery(tag=tag) for tag in range(first, last + 1)]


def consume(handoff: Handoff, count: int, on_tag: Callable[[int], object]) -> None:
    def run() -> None:
        for taken in handoff:
            on_tag(taken.tag)

    for _ in range(count):
        threading.Thread(target=run, daemon=True).start()


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns every few bytecodes, so that rare interleavings come up."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


def test_one_consumer_gets_everything_in_order() -> None:
    handoff, seen = Handoff(), list[int]()
    consume(handoff, 1, seen.append)
    handoff.put(deliveries(1, 50))
    handoff.put([])
    handoff.put(deliveries(51, 60))
    until(lambda: len(seen) == 60, "all were taken")
    assert seen == list(range(1, 61))


def test_what_nobody_got_is_taken_back_once() -> None:
    handoff = Handoff()
    handoff.put(deliveries(1, 3))
    assert [d.tag for d in handoff.take_back()] == [1, 2, 3]
    assert handoff.take_back() == []


def test_consumers_that_wait_in_their_handlers_all_run_at_once() -> None:
    handoff, together = Handoff(), threading.Barrier(9)
    consume(handoff, 8, lambda _tag: together.wait(20))
    handoff.put(deliveries(1, 8))
    together.wait(20)


def test_a_batch_too_large_for_the_sleepers_is_worked_off_by_whoever_is_free() -> None:
    handoff, release, seen = Handoff(), threading.Event(), list[int]()

    def handle(tag: int) -> None:
        if tag == 1:
            release.wait(20)
        seen.append(tag)

    consume(handoff, 2, handle)
    handoff.put(deliveries(1, 40))
    until(lambda: len(seen) == 39, "the other consumer went on alone")
    release.set()
    until(lambda: len(seen) == 40, "the slow one came through")


def test_a_wake_up_that_finds_nobody_does_not_swallow_the_batch_that_counted_on_it() -> None:
    """Between a look for sleepers that finds none and the note of that, a sleeper lies down and a batch arrives."""
    handoff = Handoff()
    asleep = threading.Lock()
    asleep.acquire()

    class Interrupted(deque[threading.Lock]):
        scene_played = False

        def pop(self) -> threading.Lock:  # type: ignore[override]
            try:
                return super().pop()
            except IndexError:
                if not self.scene_played:
                    self.scene_played = True
                    self.append(asleep)
                    handoff.put(deliveries(2, 2))
                raise

    handoff._idle = Interrupted()
    handoff.put(deliveries(1, 1))
    assert asleep.acquire(timeout=0), "the sleeper was woken"


@pytest.mark.parametrize("consumers", [1, 2, 5, 16])
def test_nothing_is_lost_or_doubled_and_nobody_sleeps_while_work_waits(consumers: int, eager_switching: None) -> None:
    """Bursts and trickles against consumers of every pace; after each round all work must have been taken."""
    chance, handoff, counts = random.Random(consumers), Handoff(), Counter[int]()
    lock = threading.Lock()

    def handle(tag: int) -> None:
        if tag % 7 == 0:
            time.sleep(0.0002)
        with lock:
            counts[tag] += 1

    consume(handoff, consumers, handle)
    last = 0
    for _ in range(150):
        for _ in range(chance.randint(1, 4)):
            size = chance.choice((1, 1, 2, 3, 40))
            handoff.put(deliveries(last + 1, last + size))
            last += size
        until(lambda: sum(counts.values()) == last, "all that was put was taken", within_s=10)  # noqa: B023
    assert counts == Counter(range(1, last + 1))


def test_those_up_to_a_tag_are_taken_back_in_their_order_with_all_of_former_epochs() -> None:
    handoff = Handoff()
    handoff.put([delivery(tag=8, epoch=1)])
    handoff.put([delivery(tag=tag, epoch=2) for tag in range(1, 4)])
    assert [d.tag for d in handoff.take_back(up_to=(2, 0))] == [8]
    assert [d.tag for d in handoff.take_back(up_to=(2, 2))] == [1, 2]
    assert [d.tag for d in handoff.take_back(up_to=(2, 2))] == []
    assert [d.tag for d in handoff.take_back(up_to=(2, 9))] == [3]
