"""Secrets that stand beside their names: the word after ``--password``, the other of a pair, the value of a name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from hermes_ray.config.secret_names import asks_for_none, looks_secret

__all__ = ["with_named"]


_A_WORD = re.compile(r"[A-Za-z]?[a-z]{0,11}")  # a longer one is no common word


def with_named(several: Mapping[Any, Any] | Sequence[Any]) -> Iterable[tuple[Any, Any, bool]]:
    """Each key and value of ``several`` (of a list: its numbers), and whether what is beside it names it as a secret.

    So it is with the last of ``["--password", "x"]``, ``["token", "x1"]`` and ``{"name": "API_KEY", "value": "x"}``,
    but not with names alone, ``["password", "email"]``.
    """
    if isinstance(several, Mapping):
        names = [item for key, item in several.items() if str(key).lower() in ("name", "key")]
        return [
            (key, item, str(key).lower() == "value" and any(_names(name, item) for name in names))
            for key, item in several.items()
        ]
    is_pair = len(several) == 2 and _A_WORD.fullmatch(str(several[1])) is None
    named = [
        (is_pair or (isinstance(before, str) and before.startswith("-"))) and _names(before, item)
        for before, item in pairwise(several)
    ]
    return list(zip(range(len(several)), several, [False, *named][: len(several)], strict=True))


def _names(name: Any, item: Any) -> bool:
    return isinstance(name, str) and not asks_for_none(name) and looks_secret(name.lstrip("-"), item)
