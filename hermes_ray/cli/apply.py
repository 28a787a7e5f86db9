"""``hermes apply``: ``hermes serve`` that returns once what it changed is up."""

from __future__ import annotations

from collections.abc import Sequence

from hermes_ray.cli.serve import serve
from hermes_ray.config.loading import COMMAND_WORDS, split_words
from hermes_ray.errors import UserMistake

__all__ = ["apply"]


def apply(words: Sequence[str]) -> int:
    """Apply the configuration that ``words`` describe and leave the deployment running."""
    own, _ = split_words(words, COMMAND_WORDS)
    if own.get("detach", "true") != "true":
        raise UserMistake(f"detach is {own['detach']!r}: hermes apply always detaches; hermes serve follows instead")
    return serve([*words, "detach=true"])
