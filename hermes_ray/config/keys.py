"""The keys there are, and the nearest of them to one that there is not."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

from hermes_ray.config.knobs import knob
from hermes_ray.config.secrets import mask_url
from hermes_ray.config.sentences import dotted
from hermes_ray.config.settings import Config, ScalingConfig, TopicConfig
from hermes_ray.errors import UserMistake

__all__ = ["canonical", "hints_of", "unknown_key", "valid_keys"]

RENAMED = {"cluster": ("cluster.name", "deployment.name")}

hints_of = functools.cache(get_type_hints)


def valid_keys(section: type = Config, path: str = "") -> Iterator[tuple[str, Any, dataclasses.Field[Any]]]:
    """Every key below ``path`` with its type and declaration, depth first; topics as ``topics.NAME``."""
    hints = hints_of(section)
    for entry in dataclasses.fields(section):
        at = f"{path}.{entry.name}" if path else entry.name
        yield at, hints[entry.name], entry
        if get_args(hints[entry.name])[1:] == (TopicConfig,):
            yield from valid_keys(TopicConfig, f"{at}.NAME")
        elif dataclasses.is_dataclass(hints[entry.name]):
            yield from valid_keys(hints[entry.name], at)


def canonical(given: Any, section: type = Config, path: str = "") -> Any:
    """``given``, what was written for ``section`` at ``path``, with each key under its own name.

    Raises ``UserMistake`` where two names of one key are given.
    """
    if not isinstance(given, dict):
        return given
    tree = dict(given)
    for entry in dataclasses.fields(section):
        name, alias = entry.name, knob(entry).alias
        if alias and alias in tree:
            if name in tree:
                at, other = dotted(path, name), dotted(path, alias)
                raise UserMistake(f"{at} and {other} are two names of one key: keep one of them")
            tree[name] = tree.pop(alias)
        hint = hints_of(section)[name]
        if name in tree and dataclasses.is_dataclass(hint) and isinstance(hint, type):
            tree[name] = canonical(tree[name], hint, dotted(path, name))
    return tree


def unknown_key(section: type, path: str, key: Any, also: tuple[str, ...] = ()) -> UserMistake:
    """The sentence for a key that ``section`` at ``path`` does not have, with the nearest one it or its parts do.

    Within a topic a key of that very name beside the section counts too: ``max`` of ``workers`` for one of ``worker``.
    ``also``: words the command takes beside the keys.
    """
    here = {entry.name: dotted(path, entry.name) for entry in dataclasses.fields(section)} | {w: w for w in also}
    deeper = _by_last_word(section, path)
    around = next((kind for kind in (TopicConfig, ScalingConfig) if section in hints_of(kind).values()), None)
    beside = _by_last_word(around, path.rpartition(".")[0]) if around else {}
    start = f"there is no key {mask_url(dotted(path, key))!r}"
    first, dot, rest = str(key).partition(".")
    if not path and first in RENAMED:
        old, new = RENAMED[first]
        return UserMistake(f"there is no key {old!r} any more: it is {new!r} now")
    if key == "num_gpus" and (section is TopicConfig or "resources" in here):
        owner = dotted(path, "worker") if section is TopicConfig else path
        return UserMistake(f"{start}: write {dotted(owner, 'resources')!r} with GPU: 1")
    if dot and first in here and re.fullmatch(r"[a-z_]+", rest):
        return UserMistake(f"{start}, since a dot in a file does not nest: write {first}: {{{rest}: ...}}")
    for names, cutoff in ((deeper, 1.0), (beside, 1.0), (here, 0.6), (deeper, 0.8)):
        if near := difflib.get_close_matches(str(key), names, n=1, cutoff=cutoff):
            return UserMistake(f"{start}: did you mean {names[near[0]]!r}?")
    return UserMistake(f"{start}: valid here are {', '.join(here)}")


def _by_last_word(section: type, path: str) -> dict[str, str]:
    """Every key below ``path`` by its last word; of two alike the one that comes first."""
    return {at.rpartition(".")[2]: at for at, *_ in reversed([*valid_keys(section, path)])}
