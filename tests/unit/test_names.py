"""One name means one thing: what a reader would otherwise have to keep apart."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "hermes_ray"
NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
MODULES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def defined(body: Sequence[ast.stmt]) -> set[str]:
    return {node.name for node in body if isinstance(node, NAMED)}


def scopes(module: ast.Module) -> Iterator[set[str]]:
    """The names that stand side by side: those of each class, and those of the module with what it imports."""
    imported = {name.asname or name.name for n in module.body if isinstance(n, ast.ImportFrom) for name in n.names}
    private = {name for node in ast.walk(module) if isinstance(node, ast.ClassDef) for name in defined(node.body)}
    yield defined(module.body) | imported
    yield imported | {name for name in private if name.startswith("_")}
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield defined(node.body)


def test_public_and_private_names_do_not_differ_by_an_underscore_alone() -> None:
    twins = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path, module in MODULES.items()
        for names in scopes(module)
        for name in names
        if f"_{name}" in names
    }
    assert not twins


def test_no_two_public_classes_have_one_name() -> None:
    classes = Counter(
        node.name
        for module in MODULES.values()
        for node in module.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, count in classes.items() if count > 1]
