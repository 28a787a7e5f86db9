"""``hermes pause``, ``resume``, ``scale``, ``stop TOPIC`` and ``forget``: what a person says wins over the policy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from hermes_ray.cli.durations import duration_s
from hermes_ray.cli.reach import bare_words, need_topic, reach
from hermes_ray.cli.remarks import ruling
from hermes_ray.errors import UserMistake

__all__ = ["forget", "override", "scale"]

MAX_COUNT = 100_000


def override(action: str, words: Sequence[str]) -> int:
    """Pause, resume or stop the topic that ``words`` name; prints what rules it now."""
    topic, rest = need_topic(action, words)
    _print_ruling(topic, reach(rest).override(topic, action))
    return 0


def scale(words: Sequence[str], for_text: str | None) -> int:
    """Pin the topic that ``words`` name to a number of workers, for a while or until ``hermes resume``."""
    bare, rest = bare_words(words)
    if len(bare) != 2:
        raise UserMistake("write hermes scale TOPIC N: the topic, and the number of workers it is to have")
    topic, number = bare
    count = int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else MAX_COUNT + 1
    if count > MAX_COUNT:
        raise UserMistake(f"N is {number[:40]!r}: it must be a whole number of workers from 0 to {MAX_COUNT}")
    for_s = None if for_text is None else duration_s("--for", for_text)
    _print_ruling(topic, reach(rest).override(topic, "pin", count=count, for_s=for_s))
    return 0


def forget(words: Sequence[str]) -> int:
    """Take all that is known of a topic that is no longer configured out of the scaler's memory."""
    topic, rest = need_topic("forget", words)
    reach(rest).forget(topic)
    click.echo(f"{topic} is forgotten: its counters, its pause and pin and what was learnt of it are gone")
    return 0


def _print_ruling(topic: str, override: Mapping[str, Any] | None) -> None:
    click.echo(ruling(topic, override, time.time()) if override else f"{topic} follows its policy")
