"""How long others have kept the event loop, for a handler that could not go on meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from hermes_ray.worker.loop_blocks import LoopBlocks


class Kept:
    """A loop that does not answer until it is ``free``, and who keeps it."""

    def __init__(self) -> None:
        self.holder: str | None = None
        self._answers: list[Callable[[], None]] = []
        self.blocks = LoopBlocks(self._answers.append, lambda: self.holder)

    def keep(self, holder: str | None, from_s: float, to_s: float, every_s: float = 0.2) -> None:
        """``holder`` keeps it meanwhile, which is looked at so often."""
        self.holder = holder
        count = round((to_s - from_s) / every_s)
        for n in range(count + 1):
            self.blocks.look(from_s + n * every_s)

    def is_hung_by(self, whom: str | None) -> bool:
        return self.blocks.is_hung(by=lambda holder: holder == whom)

    def free(self) -> None:
        while self._answers:
            self._answers.pop()()


def test_who_keeps_the_loop_for_an_hour_takes_nothing_of_the_time_of_others() -> None:
    kept = Kept()
    kept.keep("a", 0.0, 3600.0)
    assert kept.blocks.within_s("b", 0.0) == pytest.approx(3600.0)
    assert kept.blocks.within_s("b", 3000.0) == pytest.approx(600.0)
    assert kept.blocks.within_s("a", 0.0) == pytest.approx(0.0)


def test_of_several_that_keep_the_loop_only_the_others_count() -> None:
    kept = Kept()
    for n in range(10):
        kept.keep("ab"[n % 2], 10.0 * n, 10.0 * n + 1 + n % 2)
        kept.free()
    assert kept.blocks.within_s("a", 0.0) == pytest.approx(10.0)
    assert kept.blocks.within_s("b", 0.0) == pytest.approx(5.0)
    assert kept.blocks.within_s("c", 0.0) == pytest.approx(15.0)
    assert kept.blocks.within_s("c", 91.0) == pytest.approx(1.0)
    assert kept.blocks.within_s("c", 92.0) == 0.0


def test_one_that_nobody_is_known_to_keep_counts_for_none_until_it_hangs() -> None:
    kept = Kept()
    kept.keep(None, 0.0, 9.0)
    assert kept.blocks.within_s("a", 0.0) == pytest.approx(9.0)
    kept.keep(None, 9.0, 11.0)
    assert kept.blocks.within_s("a", 0.0) == 0.0


def test_it_hangs_once_one_alone_has_kept_it_for_long_and_no_more_when_it_answers() -> None:
    kept = Kept()
    kept.keep("a", 0.0, 9.0)
    assert not kept.is_hung_by("a"), "it may come back"
    kept.keep("a", 9.0, 11.0)
    assert kept.is_hung_by("a")
    assert not kept.is_hung_by("b")
    kept.free()
    assert not kept.is_hung_by("a"), "it came back"
    kept.keep("b", 11.0, 12.0)
    assert not kept.is_hung_by("a")


def test_who_comes_after_another_has_not_kept_it_for_long() -> None:
    kept = Kept()
    kept.keep("a", 0.0, 12.0)
    kept.keep(None, 12.0, 13.0)
    assert not kept.is_hung_by(None)
    assert kept.blocks.within_s("b", 0.0) == pytest.approx(13.0), "b is not charged for it"


def test_a_process_that_stood_still_since_it_asked_has_seen_nobody_keep_it() -> None:
    kept = Kept()
    kept.keep(None, 0.0, 60.0, every_s=60.0)
    assert not kept.is_hung_by(None)
    assert kept.blocks.within_s("a", 0.0) == pytest.approx(60.0), "it is not charged for it"


def test_what_was_kept_often_is_a_question_of_no_time_and_is_forgotten_in_the_end() -> None:
    kept = Kept()
    for n in range(20_000):
        kept.keep(str(n % 2), n * 0.4, n * 0.4 + 0.2)
        kept.free()
    began_s = time.thread_time()
    for _ in range(5_000):
        kept.blocks.within_s("a", 1.0)
    assert time.thread_time() - began_s < 1.0, "5000 slots: piece by piece it took minutes"
    assert kept.blocks.within_s("a", 0.0) < 2_000, "half of the last hour"


def test_one_thread_may_look_while_others_ask(frequent_switches: None) -> None:
    kept, is_over, failed = Kept(), threading.Event(), list[Exception]()

    def ask() -> None:
        try:
            while not is_over.is_set():
                assert kept.blocks.within_s("c", 0.0) >= 0.0
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    for n in range(2_000):
        kept.keep("ab"[n % 2], n * 0.4, n * 0.4 + 0.2)
        kept.free()
    is_over.set()
    thread.join()
    assert not failed
