"""Read fields of a parsed body; a missing or wrong one is a ``PermanentError``, since no retry changes the body."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hermes_ray import Message, PermanentError

__all__ = ["choice", "identifier", "instant", "items", "mapping", "number", "text"]

_ID_LIMIT = 1 << 63  # both databases store signed 64-bit integers
_ID_DIGITS_MAX = 19


def mapping(message: Message) -> Mapping[str, Any]:
    """The body of ``message`` as a JSON object."""
    return _object(message.json(), "the body")


def items(fields: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """``fields[name]`` as a list of objects; at least one."""
    value = _required(fields, name)
    if not isinstance(value, list) or not value:
        raise PermanentError(f"{name} must be a list of at least one object")
    return [_object(item, f"{name}[{n}]") for n, item in enumerate(value)]


def identifier(fields: Mapping[str, Any], name: str) -> int:
    """A 64-bit id, written as a number or, as JavaScript clients must, as digits in a string; 1 <= id < 2^63."""
    value = _required(fields, name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _ID_DIGITS_MAX:
        value = int(value)
    if type(value) is not int or not 0 < value < _ID_LIMIT:
        raise PermanentError(f"{name} must be a whole number from 1 to 2^63 - 1, not {str(value)[:40]!r}")
    return value


def number(fields: Mapping[str, Any], name: str) -> int:
    """A count or a duration in whole seconds; 0 <= number < 2^31."""
    value = _required(fields, name)
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise PermanentError(f"{name} must be a whole number from 0 to 2^31 - 1, not {str(value)[:40]!r}")
    return value


def text(fields: Mapping[str, Any], name: str) -> str:
    """A text a database can store: neither NUL (PostgreSQL refuses it) nor half of a surrogate pair."""
    value = _required(fields, name)
    if not isinstance(value, str) or "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise PermanentError(f"{name} must be a text without NUL or lone surrogates")
    return value


def choice(fields: Mapping[str, Any], name: str, allowed: frozenset[str]) -> str:
    """One word of ``allowed``."""
    value = text(fields, name)
    if value not in allowed:
        raise PermanentError(f"{name} must be one of {', '.join(sorted(allowed))}, not {value[:40]!r}")
    return value


def instant(fields: Mapping[str, Any], name: str) -> float:
    """An ISO 8601 time with its zone, as Unix seconds: ``2024-05-01T20:15:00Z`` is 1714594500.0."""
    value = text(fields, name)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass
    raise PermanentError(f"{name} must be an ISO 8601 time with its zone, not {value[:40]!r}")


def _required(fields: Mapping[str, Any], name: str) -> Any:
    if name not in fields:
        raise PermanentError(f"{name} is missing")
    return fields[name]


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PermanentError(f"{name} must be a JSON object, not {type(value).__name__}")
    return value
