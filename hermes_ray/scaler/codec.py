"""Frozen dataclasses to plain JSON trees and back, by their type hints.

Back means back: numbers, text, None, enums, tuples, mappings with text keys, and dataclasses of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

__all__ = ["from_plain", "to_plain"]

T = TypeVar("T")

KINDS: dict[Any, Any] = {Any: object, float: (int, float)}


def to_plain(value: Any) -> Any:
    """What ``json.dumps`` can write: dataclasses become mappings of their fields, tuples lists."""
    if isinstance(value, tuple | list):
        return value if value and type(value[0]) in (int, float) else [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if is_dataclass(value):
        return {entry.name: to_plain(getattr(value, entry.name)) for entry in fields(value)}
    return str(value) if isinstance(value, Enum) else value


def from_plain(cls: type[T], tree: Any) -> T:
    """The dataclass that ``tree`` came from; raises ``ValueError`` where the two do not fit."""
    built: T = _build(cls, tree)
    return built


def _build(hint: Any, tree: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return None if tree is None else _build(next(part for part in arguments if part is not NoneType), tree)
    if origin is tuple:
        return _tuple(arguments, _checked(tree, list))
    if origin is not None:
        return {key: _build(arguments[1], item) for key, item in _checked(tree, dict).items()}
    if is_dataclass(hint):
        return _dataclass(hint, _checked(tree, dict))  # type: ignore[arg-type]
    if issubclass(hint, Enum):
        return hint(tree)
    return _checked(tree, KINDS.get(hint, hint))


def _dataclass(cls: type, tree: dict[str, Any]) -> Any:
    hints = _hints(cls)
    return cls(**{name: _build(hints[name], item) for name, item in tree.items() if name in hints})


def _tuple(arguments: tuple[Any, ...], items: list[Any]) -> tuple[Any, ...]:
    hints = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else arguments
    if hints and hints[0] is int:  # histograms, most of what there is
        return tuple(items)
    return tuple(_build(part, item) for part, item in zip(hints, items, strict=True))


def _checked(tree: Any, kind: Any) -> Any:
    if not isinstance(tree, kind):
        raise ValueError(f"{type(tree).__name__} where {kind} was written")
    return tree


@cache
def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {entry.name: hints[entry.name] for entry in fields(cls)}
