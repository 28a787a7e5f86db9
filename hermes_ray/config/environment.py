"""Environment variables as the configuration reads them."""

from __future__ import annotations

import os
import re

from hermes_ray.errors import UserMistake

__all__ = ["missing_variable", "variable"]


def variable(name: str, *, has_default: bool) -> str | None:
    """The value of an environment variable; None if it is unset.

    An empty one counts as unset where there is a default, as in a shell's ``${NAME:-DEFAULT}``; so does a relative path
    in ``XDG_..._HOME``, which the XDG specification says to ignore.
    """
    value = os.environ.get(name)
    if value is None or not has_default:
        return value
    relative = re.fullmatch("XDG_[A-Z]+_HOME", name) and not value.startswith(("/", "~"))
    return None if not value or relative else value


def missing_variable(key: str, name: str) -> UserMistake:
    """What to say where ``key`` needs a variable that is unset."""
    return UserMistake(f"{key} needs the environment variable {name}: set it, or write ${{oc.env:{name},DEFAULT}}")
