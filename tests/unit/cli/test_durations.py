"""Durations as people write and read them."""

from __future__ import annotations

import pytest

from hermes_ray.cli.durations import ago, duration_s, duration_text
from hermes_ray.errors import UserMistake


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86_400), ("45", 45), ("1.5h", 5400)]
)
def test_a_duration_is_a_number_and_a_unit_and_seconds_without_one(text: str, seconds: float) -> None:
    assert duration_s("--since", text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5m", "10 m", "10min", "m", "1e3", "inf", "nan", "٣m", "9" * 400])
def test_anything_else_is_a_mistake_that_names_the_option(text: str) -> None:
    with pytest.raises(UserMistake, match=r"--since is .*: write a duration above 0 such as 90s, 10m, 2h or 1d"):
        duration_s("--since", text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (300, "5 min"), (7300, "2 h"), (200_000, "2 d")]
)
def test_people_read_a_number_or_two_digits(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_what_another_machines_clock_puts_into_the_future_is_now() -> None:
    assert ago(1_000.0, now_s=990.0) == "0 s ago"
