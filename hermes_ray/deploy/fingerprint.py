"""Which code a deployment runs: a name for the Python files of its working directory, the same wherever they lie."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import hermes_ray
from hermes_ray.errors import UserMistake

__all__ = ["code_identity"]

LEFT_OUT = {"tests", "__pycache__", "node_modules", "build", "dist", "out"}


def code_identity(directory: Path, handlers: Iterable[str]) -> str:
    """12 hex digits of the paths and contents of all ``*.py`` below ``directory``.

    What a symbolic link leads to counts as if it lay there: Ray packs it so, and a job has the same code. Tests, hidden
    directories, environments and build products are left out. Where there is no Python file at all, it is of hermes_ray
    and the modules of ``handlers`` (``package.module:name``) instead.
    """
    files = sorted(_python_files(directory))
    names = [path.relative_to(directory).as_posix() for path in files]
    if not files:
        files = sorted(_python_files(Path(hermes_ray.__file__).parent))
        files += [path for handler in sorted(set(handlers)) if (path := _source(handler)) is not None]
        names = [path.name for path in files]
    sha = hashlib.sha256()
    for name, path in zip(names, files, strict=True):
        sha.update(f"{name}\0{hashlib.sha256(_content(path)).hexdigest()}\0".encode())
    return sha.hexdigest()[:12]


def _python_files(directory: Path) -> Iterator[Path]:
    for parent, directories, names in os.walk(directory, followlinks=True):
        directories[:] = [
            name for name in directories if not _is_left_out(Path(parent, name)) and not _leads_back(Path(parent, name))
        ]
        # Emacs locks NAME.py by a dangling link .#NAME.py: reading it would fail the apply.
        yield from (
            path
            for name in names
            if name.endswith(".py") and not name.startswith(".") and (path := Path(parent, name)).is_file()
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserMistake(
            f"{path} is part of the code and cannot be read ({error.strerror}): let this user read it, or move it away"
        ) from error


def _is_left_out(directory: Path) -> bool:
    name = directory.name
    return name.startswith(".") or name in LEFT_OUT or name.endswith(".egg-info") or (directory / "pyvenv.cfg").exists()


def _leads_back(directory: Path) -> bool:
    """Whether it is a link to one of the directories on the way to it: the walk would never end."""
    return directory.is_symlink() and directory.resolve() in map(Path.resolve, directory.absolute().parents)


def _source(handler: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(handler.partition(":")[0])
    except (
        Exception
    ):  # of a user's parent package, which find_spec imports; the preflight meets it again and reports it
        return None
    return None if spec is None or spec.origin is None or not spec.origin.endswith(".py") else Path(spec.origin)
