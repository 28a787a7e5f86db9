"""Which names are those of secrets, and which of code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["asks_for_none", "is_flag", "looks_secret", "mentions_secret", "names_code", "names_secret", "names_secrets"]

_SECRET_KEY = re.compile(
    r"password|passwd|passphrase|passcode|secret|credential"
    r"|(?:^|_)(?:pass|pwd|auth|authorization|cookie|sig|signature)$|(?:token|jwt)$"
    r"|(?:api|access|private|signing|encryption|account|shared)_?key$"
)
_POINTS_ELSEWHERE = re.compile(r"_(?:file|path|dir|name|env|id)$")


def looks_secret(key: str, value: Any = None) -> bool:
    """Whether an option of this name holds a secret: ``db_password``, ``apiKey`` do; ``password_file`` does not.

    One that names many does where its value is or has a text: ``tokens: [a1b2]``, but not ``max_tokens: 4096``. One
    that asks whether there is a secret does unless its value is an answer: ``has_password: no``.
    """
    if is_flag(key) and _NO_OR_YES.fullmatch("no" if value is None else str(value).strip()):
        return False
    return names_secret(key) or (names_secrets(key) and _has_text(value))


def is_flag(key: str) -> bool:
    """Whether ``key`` may say no more than whether there is a secret: ``has_password: false``."""
    return _FLAG.match(key) is not None


def names_secret(key: str) -> bool:
    """Whether ``key`` is the name of one secret, whatever its value."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower().replace("-", "_")
    return _SECRET_KEY.search(name) is not None and _POINTS_ELSEWHERE.search(name) is None


def names_secrets(key: str) -> bool:
    """Whether ``key`` is the name of many, or of how many there are."""
    return key[-1:] in ("s", "S") and names_secret(key[:-1])


def asks_for_none(option: str) -> bool:
    """Whether an ``option`` of a command, with or without dashes, has no value: ``--no-password``."""
    return _WITHOUT_VALUE.match(option) is not None


_WITHOUT_VALUE = re.compile(r"-{0,2}(?:no-|[\w-]*-stdin\Z)")
_FLAG = re.compile(r"(?:has|is)(?=[_-]|(?-i:[A-Z]))", re.IGNORECASE)
_NO_OR_YES = re.compile(r"true|false|yes|no|on|off|none|null|[01]", re.IGNORECASE)
_A_COUNT = re.compile(r"\s*[\d.,]{0,6}\s*")


def _has_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_text, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_text, value))
    return isinstance(value, str) and _A_COUNT.fullmatch(value) is None


def names_code(key: str, value: object) -> bool:
    """Whether ``value`` is a handler's name, ``password_reset:handle``, which elsewhere would hold a secret."""
    return key == "handler" and isinstance(value, str) and _CODE.fullmatch(value) is not None


_CODE = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")


_TAKEN = re.compile(r"oc\.env:\s*([^\s,}]+)|(?<![\w-])([\w-]+)\]?\}")


def mentions_secret(source: str) -> bool:
    """Whether a text with ``${...}`` takes something that may be secret from the environment or another key."""
    if any(names_secret(match[1] or match[2]) for match in _TAKEN.finditer(source)):
        return True
    return re.search(r"\$\{[^}]*\b(?:options|broker\W+url)\b", source) is not None
