"""How figures, tables and sentences are printed, on a terminal and into a pipe.

Numbers are never folded or cut. Where a terminal is too narrow for a row, the space between its columns goes first;
then its numbers are stacked on two to four lines; and only then are the names at its left folded.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["UNKNOWN", "console_of", "figure", "print_table", "say", "terminal"]

UNKNOWN = "-"
EDGES = 2
FOLDED_NAME = 16  # narrower than this no name is folded while stacking the numbers makes room
HANG = "    "
_SIZE = re.compile("0*[1-9][0-9]{0,4}")
_SPLIT = re.compile(r" |(?<=\w{7})(?=/)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """How a table is laid out: lines of a row, characters between two columns, headings whole or a word a line."""

    lines: int = 1
    gap: int = 3
    is_heading_split: bool = False


PIPED = _Shape()
SHAPES = (
    PIPED,
    _Shape(gap=2, is_heading_split=True),
    _Shape(gap=1, is_heading_split=True),
    _Shape(lines=2, gap=2),
    _Shape(lines=2, gap=1),
    _Shape(lines=3, gap=2),
    _Shape(lines=3, gap=1),
    _Shape(lines=4, gap=1),
)


def terminal(width: int | None = None) -> Console:
    """Where output goes, ``width`` columns wide if that is given; what is no size in the environment does not count."""
    for name in ("COLUMNS", "LINES"):
        if name in os.environ and not _SIZE.fullmatch(os.environ[name]):
            del os.environ[name]  # rich would fail of 0 and of a superscript 2, which it takes for digits
    return Console(width=width, highlight=False)


def console_of(piped_columns: int) -> Console:
    """The terminal; a pipe and a job's log have no width and get ``piped_columns``, where ``COLUMNS`` does not say."""
    console = terminal()
    return console if _has_width(console) else terminal(piped_columns)


def print_table(console: Console, names: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print ``rows``: columns of ``names`` at the left, then columns of ``numbers``; these are the headings.

    Into a pipe without a width a row is one line, its names folded where they must be.
    """
    columns = [list(column) for column in zip([*names, *numbers], *rows, strict=True)]
    shape, name_widths = _fitting(console.width, columns, len(names)) if _has_width(console) else (PIPED, None)
    padding = (0, shape.gap // 2, 0, (shape.gap - 1) // 2)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=padding, leading=int(shape.lines > 1))
    for n, name in enumerate(names):
        table.add_column(name, width=name_widths[n] if name_widths else None, overflow="fold")
    for heading in _stacked(_headings(numbers, shape), shape):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, (*row[: len(names)], *_stacked(row[len(names) :], shape))))
    console.print(table)


def say(console: Console, sentence: str, style: str = "") -> None:
    """Print a sentence: on a terminal folded between words, its other lines indented; as one line into a pipe."""
    if _has_width(console):
        sentence = textwrap.fill(sentence, console.width, subsequent_indent=HANG, break_on_hyphens=False)
    console.print(Text(sentence, style=style), soft_wrap=True)


def figure(value: float | None) -> str:
    """Three digits, whole numbers and those from 1,000 on whole, ``-`` for unknown: 9.04, 0.5, 86400."""
    if value is None:
        return UNKNOWN
    return str(value) if isinstance(value, int) else f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def _has_width(console: Console) -> bool:
    return console.is_terminal or "COLUMNS" in os.environ


def _fitting(room: int, columns: Sequence[Sequence[str]], name_count: int) -> tuple[_Shape, list[int]]:
    """The first shape in which no word of a name is folded, else the first that leaves names some width, else the last;
    and the width of each column of names.
    """
    whole = [max(map(len, column)) for column in columns[:name_count]]
    words = [max(len(word) for cell in column for word in cell.split()) for column in columns[:name_count]]
    folded = [min(width, FOLDED_NAME) for width in words]
    left = {shape: room - EDGES - _number_width(shape, columns[name_count:], name_count) for shape in SHAPES}
    for least in (words, folded):
        for shape in SHAPES:
            if sum(least) <= left[shape]:
                return shape, _shared(left[shape], least, whole)
    return SHAPES[-1], _shared(left[SHAPES[-1]], folded, whole)


def _number_width(shape: _Shape, columns: Sequence[Sequence[str]], name_count: int) -> int:
    """What the columns of numbers take, with the gaps before each of them and between those of names."""
    headings = _headings([column[0] for column in columns], shape)
    widths = [
        max(map(len, (*heading.split("\n"), *column[1:]))) for heading, column in zip(headings, columns, strict=True)
    ]
    count = _column_count(len(widths), shape)
    return sum(max(widths[n::count]) for n in range(count)) + shape.gap * (count + name_count - 1)


def _shared(room: int, least: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Widths that add up to ``room`` at most: each ``least``, the widest less where that is too much, and of what is
    spare what each still wants, the first one first. Of 30 for least 10, 8 and wanted 15, 19: 15 and 15.
    """
    widths = list(least)
    while sum(widths) > max(room, len(widths)):
        widths[widths.index(max(widths))] -= 1
    for n, width in enumerate(wanted):
        widths[n] = min(width, max(widths[n], widths[n] + room - sum(widths)))
    return widths


def _headings(numbers: Sequence[str], shape: _Shape) -> list[str]:
    return ["\n".join(_SPLIT.split(heading)) if shape.is_heading_split else heading for heading in numbers]


def _column_count(number_count: int, shape: _Shape) -> int:
    return -(-number_count // shape.lines)


def _stacked(cells: Sequence[str], shape: _Shape) -> list[str]:
    """The cells of a row on ``shape.lines`` lines: of a, b, c, d, e on two the columns a over d, b over e, and c."""
    count = _column_count(len(cells), shape)
    padded = [*cells, *[""] * (count * shape.lines - len(cells))]
    return ["\n".join(padded[column::count]) for column in range(count)]
