"""The parts of a sentence about a mistake: the key, the value, what was meant; no password in any of them."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from typing import Any

from hermes_ray.config.secrets import MASK, Hidden, mask_url, refused_url

__all__ = ["dotted", "dotted_path", "nearest", "shortened", "shown"]

SHOWN_CHARACTERS = 80


def dotted(path: str, key: Any) -> str:
    """``path`` one level down, as the command line writes it: ``topics[a.b]`` for a key with dots."""
    plain = isinstance(key, str) and key.isprintable() and len(key) <= SHOWN_CHARACTERS
    text = mask_url(key) if plain else shown(key)
    if "." in text:
        return f"{path}[{text}]"
    return f"{path}.{text}" if path else text


def dotted_path(keys: Iterable[Any]) -> str:
    """The keys from the root on as one: ``topics[a.b].options.urls[0]``."""
    return functools.reduce(_one_down, keys, "")


def _one_down(path: str, key: Any) -> str:
    return f"{path}[{key}]" if path and type(key) is int else dotted(path, key)


def shown(value: Any) -> str:
    """``value`` for a sentence: one short line, no password; of containers only what they are."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a huge number"
    if isinstance(value, Hidden):
        return MASK
    if isinstance(value, str):
        value = refused_url(value) if "@" in value or "://" in value else mask_url(value)
    return shortened(repr(value))


def shortened(text: str) -> str:
    """``text`` in 80 characters; of a longer one the last, which may be a quote, is kept."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 4]}...{text[-1]}"


def nearest(name: str, names: Iterable[str]) -> str:
    """What to say instead of ``name``: the one that was meant, or all there are."""
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
