"""The pages for readers and their code blocks as a reader sees them: under which heading, after which words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.live import ROOT

__all__ = ["PAGES", "README", "Block", "anchors", "blocks", "commands", "doc"]

README = ROOT / "README.md"
PAGES = (README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w.-]+)`:\s*\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """``heading`` is the nearest one of level 2 above; ``file`` the name that the words just before give it, if any."""

    heading: str
    language: str
    text: str
    file: str | None


def doc(name: str) -> Path:
    """The page of that name in docs/."""
    return ROOT / "docs" / f"{name}.md"


def anchors(page: Path) -> set[str]:
    """What a link may name after its ``#``, as GitHub makes it of a heading: ``A, b's c`` is ``a-bs-c``."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(page: Path = README) -> Iterator[Block]:
    """The fenced blocks of a Markdown page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        headings = re.findall(r"^## (.*)$", before, re.MULTILINE)
        name = FILE.search(before)
        yield Block(headings[-1] if headings else "", match[1], match[2], name[1] if name else None)


def commands(block: Block) -> list[list[str]]:
    """The lines of a shell block as words, comments left out."""
    lines = (shlex.split(line, comments=True) for line in block.text.splitlines())
    return [words for words in lines if words]
