"""What decides can be replayed: core/ imports a few pure modules of the standard library, and its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CORE = Path(__file__).parents[3] / "hermes_ray" / "core"
PURE = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "itertools",
    "math",
    "operator",
    "types",
    "typing",
}
IMPURE_BUILTINS = {"__import__", "breakpoint", "compile", "eval", "exec", "input", "open", "print"}


def reached(source: str) -> Iterator[str]:
    """The modules that ``source`` imports, wherever in it, and the built-in functions that reach outside."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS:
            yield node.id


def is_pure(name: str) -> bool:
    return name.partition(".")[0] in PURE or name.startswith("hermes_ray.core.")


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: path.stem)
def test_core_reaches_nothing_but_pure_modules(path: Path) -> None:
    assert not [name for name in reached(path.read_text(encoding="utf-8")) if not is_pure(name)]


@pytest.mark.parametrize(
    "source",
    [
        "import msgspec",
        "import ctypes",
        "def f():\n    from signal import alarm",
        "from os.path import join",
        "from hermes_ray import config",
        "from . import clock",
        "open('/etc/motd')",
    ],
)
def test_what_is_not_pure_is_found(source: str) -> None:
    assert [name for name in reached(source) if not is_pure(name)]
