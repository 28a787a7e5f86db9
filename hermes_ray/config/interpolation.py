"""``${...}`` in values: another key, or the environment; all the rest of OmegaConf's grammar is left to OmegaConf.

What nearly everybody writes, ``${oc.env:NAME}``, ``${oc.env:NAME,DEFAULT}`` and ``${another.key}``, alone or within
text, is replaced here: 2,000 topics with three each take 0.1 s, through OmegaConf 20 s, as it makes an object of every
value and parses each text with a parser in Python. A test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hermes_ray.config.environment import missing_variable, variable
from hermes_ray.config.secret_names import mentions_secret
from hermes_ray.config.secrets import Hidden
from hermes_ray.config.sentences import dotted_path

__all__ = ["resolve"]

_PIECE = re.compile(
    r"\$\{(?:"
    r"oc\.env:(?P<variable>[A-Za-z_][A-Za-z0-9_]*)"
    r"(?P<default>,(?:'(?P<quoted>[^'\\${}]*)'|(?P<plain>[A-Za-z_][A-Za-z0-9_]*|0|[1-9][0-9]{0,15})))?"
    r"|(?P<dots>\.*)(?P<key>[A-Za-z_][\w-]*(?:\.[\w-]+|\[[\w.-]+\])*)"
    r")\}",
    re.ASCII,
)
_ENVIRONMENT = re.compile(r"\$\{\s*oc\.env\s*:")
_ENVIRONMENT_ONLY = re.compile(r"\$\{\s*oc\.(?:env|decode)\s*:")


class _Complicated(Exception):
    """A text that only OmegaConf understands, or whose mistake only it explains."""


class _Waiting:
    """A text in the tree whose ``${...}`` are not replaced yet."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


_Place = tuple[Any, tuple[Any, ...]]  # a container, and the path from the root to a value in it


def resolve(source: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``source`` (plain values) with all its ``${...}`` replaced.

    Outside the broker's URL a text that may have been made of a secret is ``Hidden``, and so is every one among
    options. Raises ``UserMistake``.
    """
    waiting: list[_Place] = []
    tree: dict[str, Any] = _copied(source, (), waiting)
    try:
        _replace_all(tree, waiting)
    except _Complicated:
        tree = _resolved_by_omegaconf(source)
        _hide(source, tree, ())
    return tree


def _copied(value: Any, path: tuple[Any, ...], waiting: list[_Place]) -> Any:
    copy: Any
    if isinstance(value, dict):
        copy = dict(value)
        items: Any = value.items()
    elif isinstance(value, list):
        copy = list(value)
        items = enumerate(value)
    else:
        return value
    for key, item in items:
        if isinstance(item, dict | list):
            copy[key] = _copied(item, (*path, key), waiting)
        elif isinstance(item, str) and "${" in item:
            copy[key] = _Waiting(item)
            waiting.append((copy, (*path, key)))
    return copy


def _replace_all(tree: dict[str, Any], waiting: list[_Place]) -> None:
    """Replace what waits for nothing, again and again; to and fro, so that a chain of any length takes two rounds."""
    while waiting:
        left = []
        for place in waiting:
            container, path = place
            key = path[-1]
            text = container[key].text
            value = _value(text, tree, path)
            if isinstance(value, _Waiting):
                left.append(place)
            else:
                container[key] = _hidden(value, text, path)
        if len(left) == len(waiting):
            raise _Complicated
        waiting = left[::-1]


def _hide(source: Any, tree: Any, path: tuple[Any, ...]) -> None:
    """Make ``Hidden`` what is to be in ``tree``, which came of ``source``."""
    for key, item in source.items() if isinstance(source, dict) else enumerate(source):
        if isinstance(item, dict | list):
            _hide(item, tree[key], (*path, key))
        elif isinstance(item, str) and "${" in item:
            tree[key] = _hidden(tree[key], item, (*path, key))


def _hidden(value: Any, text: str, path: tuple[Any, ...]) -> Any:
    if "options" in path and isinstance(value, dict | list):
        return _all_hidden(value)
    if not isinstance(value, str):
        return value
    if path == ("broker",) or path[:2] == ("broker", "url"):
        return str(value)  # never shown, and handed to others
    if path[0] == "broker" and _ENVIRONMENT.search(text):  # a password may have been put at the wrong key
        return Hidden(value)
    if "options" in path:  # what came from elsewhere is not told in what a handler raises about it either
        return Hidden(value)
    return Hidden(value) if isinstance(value, Hidden) or mentions_secret(text) else value


def _all_hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _all_hidden(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_all_hidden(item) for item in value]
    return Hidden(value) if isinstance(value, str) else value


def _value(text: str, tree: dict[str, Any], path: tuple[Any, ...]) -> Any:
    """What ``text`` stands for; a ``_Waiting`` if that is not known yet."""
    whole = _PIECE.fullmatch(text)
    if whole:
        return _piece(whole, tree, path)
    if "\\" in text or "${" in _PIECE.sub("", text):
        if len(_ENVIRONMENT_ONLY.findall(text)) < text.count("${"):
            raise _Complicated
        return _alone(text, path)
    parts, done, hidden = [], 0, False
    for match in _PIECE.finditer(text):
        value = _piece(match, tree, path)
        if isinstance(value, _Waiting):
            return value
        if isinstance(value, dict | list):
            raise _Complicated
        parts += [text[done : match.start()], str(value)]
        done = match.end()
        hidden |= isinstance(value, Hidden)
    made = "".join([*parts, text[done:]])
    return Hidden(made) if hidden else made


def _piece(match: re.Match[str], tree: dict[str, Any], path: tuple[Any, ...]) -> Any:
    if match["variable"] is None:
        return _another(match, tree, path)
    value = variable(match["variable"], has_default=match["default"] is not None)
    if value is not None:
        return value
    if match["default"] is None:
        raise missing_variable(dotted_path(path), match["variable"])
    if match["plain"] is None:
        return match["quoted"]
    special = {"null": None, "true": "True", "false": "False", "nan": "nan", "inf": "inf"}
    return special.get(match["plain"].lower(), match["plain"])


def _another(match: re.Match[str], tree: dict[str, Any], path: tuple[Any, ...]) -> Any:
    """The value of another key: one dot in front of it is the mapping that holds ``path``, each more one above."""
    up = len(match["dots"])
    if up > len(path):
        raise _Complicated
    found: Any = tree
    for key in (*(path[: len(path) - up] if up else ()), *_keys(match["key"])):
        if isinstance(found, _Waiting):
            return found
        if not isinstance(found, dict) or key not in found:
            raise _Complicated  # a list, a key that is a number, or a mistake
        found = found[key]
    if isinstance(found, str) and found == "???":
        raise _Complicated
    return next(_waiting_in(found), found)


def _keys(key: str) -> list[str]:
    return [quoted or plain for quoted, plain in re.findall(r"\[([^\]]+)\]|([^.\[\]]+)", key)]


def _waiting_in(value: Any) -> Iterator[_Waiting]:
    if isinstance(value, _Waiting):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _waiting_in(item)


def _alone(text: str, path: tuple[Any, ...]) -> Any:
    """The value of a text that refers to no key, read at its place so that a mistake names it."""
    tree: Any = text
    for key in reversed(path):
        tree = {key: tree}
    tree = _resolved_by_omegaconf(tree)
    for key in path:
        tree = tree[key]
    return tree


def _resolved_by_omegaconf(source: Any) -> Any:
    from hermes_ray.config.grammar import resolved  # takes 60 ms to import, and most configurations do without

    return resolved(source)
