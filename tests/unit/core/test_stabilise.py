from __future__ import annotations

from collections.abc import Sequence

from hermes_ray.core.stabilise import WINDOW_S, Window, stabilise


def _play(recommended: Sequence[tuple[float, int]], current: int, window: Window | None = None) -> list[int]:
    kept = window or Window(since_s=-WINDOW_S)
    targets = []
    for at_s, workers in recommended:
        kept, current = stabilise(kept, workers, current, at_s)
        targets.append(current)
    return targets


def test_up_goes_at_once() -> None:
    assert _play([(0.0, 9)], current=2, window=Window()) == [9]


def test_down_waits_until_the_last_high_recommendation_is_a_minute_old() -> None:
    wants = [(0.0, 8), (10.0, 8), (11.0, 3), (69.9, 3), (70.0, 3)]
    assert _play(wants, current=8) == [8, 8, 8, 8, 3]


def test_down_goes_to_the_largest_recommendation_of_the_last_minute() -> None:
    assert _play([(0.0, 8), (20.0, 5), (30.0, 2), (60.0, 2), (80.0, 2)], current=8) == [8, 8, 8, 5, 2]


def test_a_short_dip_changes_nothing() -> None:
    assert _play([(0.0, 8), (1.0, 0), (2.0, 8), (61.0, 7), (62.0, 7)], current=8) == [8, 8, 8, 8, 7]


def test_nothing_shrinks_before_a_first_full_window_is_covered() -> None:
    assert _play([(0.0, 1), (30.0, 1), (59.9, 1), (60.0, 1)], current=6, window=Window()) == [6, 6, 6, 1]


def test_after_looking_away_for_longer_than_the_window_a_full_one_has_to_be_covered_again() -> None:
    assert _play([(0.0, 8), (60.0, 3), (61.0, 3)], current=8) == [8, 3, 3]
    assert _play([(0.0, 8), (61.0, 3), (90.0, 3), (120.9, 3), (121.0, 3)], current=8) == [8, 8, 8, 8, 3]


def test_the_window_keeps_no_more_than_what_may_still_bind() -> None:
    window = Window()
    for second in range(1_000):
        window, _ = stabilise(window, 5 + second % 2, 6, float(second))
    assert len(window.peaks) <= 2


def test_going_back_up_is_never_delayed_by_the_window() -> None:
    assert _play([(0.0, 8), (30.0, 2), (61.0, 2), (62.0, 7)], current=8) == [8, 8, 2, 7]
