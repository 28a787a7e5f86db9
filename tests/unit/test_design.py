"""docs/design.md names what is there: files, folders, classes, layers."""

from __future__ import annotations

import re
import tomllib
from itertools import combinations

from tests.support.live import ROOT
from tests.support.readme import blocks, doc

PACKAGE = ROOT / "hermes_ray"
PAGE = doc("design").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", PAGE)


def part(heading: str) -> str:
    """What stands under a heading of level 2."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def is_there(path: str) -> bool:
    return any((base / path).exists() for base in (PACKAGE, ROOT, ROOT / "docs"))


def test_every_path_it_names_exists() -> None:
    named = {words for words in CODE if re.fullmatch(r"[\w./-]+(?:\.(?:py|md|yaml|toml)|/)", words)}
    assert len(named) >= 50
    assert not {path for path in named if not is_there(path)}


def test_the_files_in_the_picture_exist() -> None:
    (picture,) = blocks(doc("design"))
    named = set(re.findall(r"\b([a-z_]+/[a-z_]*)", picture.text))
    assert len(named) >= 10
    assert not {path for path in named if not is_there(path) and not is_there(f"{path}.py")}


def test_every_class_it_names_exists() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    named = {words for words in CODE if re.fullmatch(r"[A-Z][a-z]+[A-Za-z]*", words)}
    assert len(named) >= 5
    assert not {name for name in named - {"None"} if not re.search(rf"^class {name}\b", source, re.MULTILINE)}


def test_every_folder_of_the_package_has_its_sentence() -> None:
    named = re.findall(r"^\| `([\w/]+)/` \| .+ \|$", part("A sentence per folder"), re.MULTILINE)
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")} - {"."}
    assert sorted(named) == sorted(folders)


def test_its_layers_are_those_that_are_checked() -> None:
    (drawn,) = re.findall(r"^    (jobs -> .*)$", part("Layers"), re.MULTILINE)
    heights = {name: -n for n, layer in enumerate(drawn.split(" -> ")) for name in layer.split(", ")}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract.get("containers") == ["hermes_ray"]]
    checked = [set(re.findall(r"\w+", layer)) - {"samples"} for layer in layers]
    assert set().union(*checked) == set(heights) - {"jobs"}
    for above, below in combinations(checked, 2):
        assert min(heights[name] for name in above) > max(heights[name] for name in below), (above, below)


def test_it_has_three_pages_and_fifteen_words() -> None:
    assert len(PAGE.splitlines()) <= 180
    words = re.findall(r"^\| ([a-z, ]+) \| .+ \|$", part("Fifteen words").split("|---|---|")[1], re.MULTILINE)
    assert len(words) == 15
