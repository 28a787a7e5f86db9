"""A deployment on a terminal, drawn from the record; pure but for the time and the size it is given.

A panel a topic as long as all of them fit, side by side where the terminal is wide; else a row a topic, those in
trouble and the busiest first, as many as fit, and how many more there are.
"""

from __future__ import annotations

import textwrap
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.table import Table
from rich.text import Text

from hermes_ray.cli.panel import LEAST_BACKLOG, columns, figure, panel, panel_rows, workers_text
from hermes_ray.cli.record import Recording, thinned
from hermes_ray.cli.remarks import Remark, remarks

__all__ = ["Head", "line", "view"]

COLORS = (
    "dodger_blue2", "dark_orange", "spring_green3", "medium_orchid", "gold3", "turquoise2", "hot_pink3", "chartreuse3",
)  # fmt: skip
HEAD_ROWS = 2
MOST_CHART_ROWS = 6
PANEL_COLUMNS = 80
TOPICS_OF_A_LINE = 5
LEAST_CHART, MOST_CHART = 8, 60
NAME_COLUMNS, NOTE_COLUMNS = 16, 19
NUMBERS = ("queued", "new/s", "workers", "target")
NOTE = "remarks"
GAP = 2
BLANK = " "  # a layout takes what is empty for nothing to show, and draws its own outline there


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The lines above the topics: ``title`` at the left, ``link`` at the right, below them what is to be noticed.

    ``brief`` stands for it all where there is but one line.
    """

    title: str
    brief: str
    link: str = ""
    notice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Topic:
    """One topic of a frame: its colour, and what a person should know of it."""

    name: str
    color: str
    noted: Sequence[Remark]


def view(record: Recording, head: Head, now_s: float, *, width: int, height: int) -> Layout:
    """The whole screen, ``width`` x ``height`` characters, at ``now_s`` (Unix time)."""
    topics, rows = _topics(record, now_s), height - HEAD_ROWS
    fit = _fit([len(topic.noted) for topic in topics], width, rows)
    layout = Layout()
    if fit is None:
        body = [Layout(_table(record, topics, width, rows))]
    else:
        body = [*_bands(record, topics, now_s, width, *fit), Layout(BLANK)]
    layout.split_column(Layout(_head(record, head, width), size=HEAD_ROWS), *body)
    return layout


def line(record: Recording, title: str, now_s: float) -> str:
    """The same in one line, for what is no terminal; of many topics those in trouble and the busiest."""
    topics = _topics(record, now_s)
    if len(topics) > TOPICS_OF_A_LINE:
        topics = _ranked(record, topics)
    parts = []
    for topic in topics[:TOPICS_OF_A_LINE]:
        if (now := record.now(topic.name)) is not None:
            names = f" ({', '.join(remark.name for remark in topic.noted)})" if topic.noted else ""
            parts.append(f"{topic.name} {figure(now.backlog)} queued, {workers_text(now)}{names}")
    if parts and (more := len(topics) - TOPICS_OF_A_LINE) > 0:
        parts.append(f"and {more:,} more")
    return f"{now_s - record.zero_s:5.0f} s  {title}{': ' if parts else ''}{'; '.join(parts)}"


def _topics(record: Recording, now_s: float) -> list[_Topic]:
    """The topics of the last status, before the first one those of the record, each in the colour it began with."""
    colors = dict(zip(record.moments, cycle(COLORS), strict=False))
    states = record.states
    return [
        _Topic(
            name=name,
            color=colors[name],
            noted=list(remarks(name, states[name], now_s)) if name in states else [],
        )
        for name in list(states or record.moments)
    ]


def _ranked(record: Recording, topics: Sequence[_Topic]) -> list[_Topic]:
    """Those in trouble first, then the busiest; sizes count by powers of two, or the order would never rest."""

    def rank(topic: _Topic) -> tuple[int, int, int]:
        now = record.now(topic.name)
        backlog, workers = (0, 0) if now is None else (now.backlog or 0, now.observed + now.starting)
        return (
            -max((remark.severity for remark in topic.noted), default=0),
            -backlog.bit_length(),
            -workers.bit_length(),
        )

    return sorted(topics, key=rank)


def _fit(remark_counts: Sequence[int], width: int, rows: int) -> tuple[int, int] | None:
    """How many panels stand side by side and the rows of their charts, as high as fits; None if panels do not fit."""
    most_across = max(1, width // PANEL_COLUMNS)
    for lowest, highest in ((2, MOST_CHART_ROWS), (1, 1)):
        for across in range(1, most_across + 1):
            for chart_rows in range(highest, lowest - 1, -1):
                bands = [max(remark_counts[n : n + across]) for n in range(0, len(remark_counts), across)]
                if sum(panel_rows(chart_rows, count) for count in bands) <= rows:
                    return across, chart_rows
    return None


def _bands(
    record: Recording, topics: Sequence[_Topic], now_s: float, width: int, across: int, chart_rows: int
) -> Iterator[Layout]:
    for n in range(0, len(topics), across):
        beside = topics[n : n + across]
        band = Layout(size=max(panel_rows(chart_rows, len(topic.noted)) for topic in beside))
        panels = [
            panel(
                record, topic.name, topic.noted, color=topic.color, now_s=now_s, width=width // across,
                chart_rows=chart_rows,
            )
            for topic in beside
        ]  # fmt: skip
        band.split_row(*map(Layout, panels), *(Layout(BLANK) for _ in range(across - len(beside))))
        yield band


def _head(record: Recording, head: Head, width: int) -> RenderableType:
    """Two lines; the link is at the right of the first that has room for it."""
    first = Text.assemble((" hermes ", "bold reverse"), "  ", (head.title, "bold"))
    second = Text(head.notice, style="yellow") if head.notice else Text(_totals(record), style="dim")
    for text in (first, second):
        if head.link and len(text) + GAP + len(head.link) <= width:
            text.append(" " * (width - len(text) - len(head.link))).append(head.link, style="not bold dim")
            break
    for text in (first, second):
        text.no_wrap, text.overflow = True, "ellipsis"
    return Group(first, second)


def _totals(record: Recording) -> str:
    """All topics together; what is unknown counts as nothing here."""
    seen = [now for topic in list(record.states) if (now := record.now(topic)) is not None]
    if len(seen) < 2:
        return ""
    queued, workers = sum(now.backlog or 0 for now in seen), sum(now.observed for now in seen)
    return f"{len(seen):,} topics, {queued:,} queued, {workers:,} workers"


def _table(record: Recording, topics: Sequence[_Topic], width: int, rows: int) -> RenderableType:
    """A heading, a row a topic, and where not all fit a line that says how many more there are."""
    ranked = _ranked(record, topics)
    numbers = [_numbers(record, topic) for topic in ranked]
    names = [", ".join(remark.name for remark in topic.noted) for topic in ranked]
    taken = [max(map(len, column)) for column in zip(NUMBERS, *numbers, strict=True)]
    room = width - sum(taken) - GAP * (len(taken) + 2)
    name_width, span, note_width = _shares(room, max(len(topic.name) for topic in ranked), max(map(len, names)))
    notes = [textwrap.wrap(name, note_width, break_on_hyphens=False) or [""] for name in names]
    shown_count = _shown([len(lines) for lines in notes], rows - 1)
    table = Table.grid(padding=(0, GAP, 0, 0))
    table.add_column(width=name_width, no_wrap=True, overflow="ellipsis")
    if span:
        table.add_column(width=span, no_wrap=True)
    for _ in NUMBERS:
        table.add_column(justify="right", no_wrap=True)
    table.add_column(width=note_width, no_wrap=True, overflow="ellipsis")
    table.add_row("topic", *([""] if span else []), *NUMBERS, NOTE, style="dim")
    for topic, cells, lines in zip(ranked[:shown_count], numbers, notes, strict=False):
        charts = [Text(_chart(record, topic, span), style=topic.color)] if span else []
        style = max(topic.noted, key=lambda remark: remark.severity).style if topic.noted else ""
        name = Text(topic.name, style=f"bold {topic.color}")
        table.add_row(name, *charts, *cells, Text("\n".join(lines), style=style))
    more = ranked[shown_count:]
    return Group(table, Text(_more(more), style="dim", no_wrap=True, overflow="ellipsis")) if more else table


def _shares(room: int, name: int, note: int) -> tuple[int, int, int]:
    """The widths of a topic's name, its chart and its remarks: what is wrong is whole, then the name, then the chart.

    Of 44 columns for a name of 45 and remarks of 29: 17, 8 and 19; of 30: 11, none and 19.
    """
    note_width = min(max(note, len(NOTE)), max(room // 3, NOTE_COLUMNS))
    left = max(room - note_width, 1)
    if left < NAME_COLUMNS + LEAST_CHART:
        return min(name, left), 0, note_width
    name_width = min(name, left - LEAST_CHART)
    return name_width, min(left - name_width, MOST_CHART), note_width


def _shown(line_counts: Sequence[int], rows: int) -> int:
    """How many of the topics fit, the last row kept for how many more there are, unless all fit."""
    ends = list(accumulate(line_counts))
    return len(ends) if ends[-1] <= rows else bisect_right(ends, rows - 1)


def _chart(record: Recording, topic: _Topic, span: int) -> str:
    backlogs = [moment.backlog for moment in thinned(record.moments[topic.name], span)]
    return columns(backlogs, span, 1, LEAST_BACKLOG)[0]


def _numbers(record: Recording, topic: _Topic) -> list[str]:
    now = record.now(topic.name)
    if now is None:
        return [figure(None)] * len(NUMBERS)
    moving = (f" +{now.starting}" if now.starting else "") + (f" -{now.draining}" if now.draining else "")
    return [figure(now.backlog), figure(now.arrival_rate_hz), f"{now.observed}{moving}", figure(now.target)]


def _more(topics: Sequence[_Topic]) -> str:
    troubled = sum(any(remark.severity for remark in topic.noted) for topic in topics)
    wrong = f", {troubled:,} of them with something wrong" if troubled else ""
    return f"and {len(topics):,} more topic{'' if len(topics) == 1 else 's'}{wrong}: hermes status shows all"
