"""OmegaConf, for what only it understands: the rare parts of its ``${...}`` grammar, and why one cannot be resolved."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import (
    GrammarParseError,
    InterpolationKeyError,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
)

from hermes_ray.config.environment import missing_variable, variable
from hermes_ray.config.secrets import mask_url
from hermes_ray.config.sentences import shown
from hermes_ray.errors import UserMistake

__all__ = ["merged", "resolved"]

_WITH_DEFAULT = re.compile(r"\$\{\s*oc\.env\s*:\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?=\s*,)")
_NOT_FOUND = re.compile(r"Environment variable '([^'\n]+)' not found")
_ERRORS = (OmegaConfBaseException, ValueError, TypeError, RecursionError)


def resolved(source: Any) -> Any:
    """``source`` (plain values) with its ``${...}`` replaced. Raises ``UserMistake``."""
    try:
        return OmegaConf.to_container(OmegaConf.create(_with_variables(source)), resolve=True)
    except _ERRORS as error:
        raise _unreadable(error, "the configuration") from None


def merged(source: Any, override: Any) -> Any:
    """``override`` over ``source``, both with their ``${...}`` in them; one that a mapping is put over is followed."""
    try:
        both = OmegaConf.merge(OmegaConf.create(source), OmegaConf.create(override))
        return OmegaConf.to_container(both, resolve=False)
    except _ERRORS as error:
        raise _unreadable(error, "the command line") from None


def _with_variables(value: Any) -> Any:
    """``value`` where an environment variable that is set but counts as unset has the name of one that nobody sets."""
    if isinstance(value, dict):
        return {key: _with_variables(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_variables(item) for item in value]
    return _WITH_DEFAULT.sub(_known_variable, value) if isinstance(value, str) else value


def _known_variable(match: re.Match[str]) -> str:
    return match[0] if variable(match["name"], has_default=True) else f"{match[0]}.unset"


def _unreadable(error: Exception, where: str) -> UserMistake:
    """One sentence for what OmegaConf refuses; never its own text, which repeats values."""
    full_key = getattr(error, "full_key", None)
    key = mask_url(str(full_key)) if full_key and str(full_key).isprintable() else where
    if unset := _NOT_FOUND.search(str(error)):
        return missing_variable(key, mask_url(unset[1]))
    if isinstance(error, InterpolationKeyError):
        target = re.search(r"Interpolation key '([^'\n]+)'", str(error))
        return UserMistake(f"{key} refers to {_target(target[1], key) if target else 'a key'}, which does not exist")
    if isinstance(error, UnsupportedInterpolationType):
        return UserMistake(f"{key} uses an unknown kind of ${{...}}: write ${{oc.env:NAME}} or ${{another.key}}")
    if isinstance(error, GrammarParseError):
        return UserMistake(f"{key} holds a ${{...}} that cannot be read: check its braces and quotes")
    if isinstance(error, OmegaConfBaseException) and "nterpolation" in str(error):
        return UserMistake(f"{key} holds a ${{...}} that cannot be resolved: it must lead to a value, not to itself")
    return UserMistake(f"{key} cannot be read: it must be a mapping of text keys to plain values, lists and mappings")


def _target(name: str, key: str) -> str:
    """The key that is referred to, unless it may be part of a password with a ``${`` in it."""
    secret = re.match(r"broker\b|[^.]*$", key) or ".options" in key
    known = re.match(r"\.|(?:topics|deployment|broker|metrics)\b", name)
    return "a key" if secret and not known else shown(name)
