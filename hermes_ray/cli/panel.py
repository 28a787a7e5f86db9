"""One topic on a terminal: a panel of charts, figures and words, or a row of a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hermes_ray.cli.durations import ago
from hermes_ray.cli.record import Moment, Recording, thinned
from hermes_ray.cli.remarks import Remark

__all__ = ["columns", "figure", "panel", "panel_rows", "workers_text"]

EIGHTHS = " ▁▂▃▄▅▆▇█"
LEAST_RATE_HZ, LEAST_BACKLOG = 4.0, 40.0
SIDES = 56  # characters beside a chart: labels, figures, borders
NARROWEST = 20
MOST_REMARKS = 3
BESIDE_CHARTS = 4  # rows of a panel: its two borders, workers, the last decision


def panel_rows(chart_rows: int, remark_count: int) -> int:
    """The height of a panel whose two charts have ``chart_rows`` rows each."""
    return BESIDE_CHARTS + 2 * chart_rows + min(remark_count, MOST_REMARKS)


def panel(
    record: Recording, topic: str, noted: Sequence[Remark], *, color: str, now_s: float, width: int, chart_rows: int
) -> Panel:
    """The panel of a topic, ``panel_rows`` high; ``noted``: what a person should know of it."""
    now = record.now(topic)
    title = Text(f" {topic} ", style=f"bold {color}", overflow="ellipsis", no_wrap=True)
    if now is None:
        return Panel(Text("no status yet", style="dim"), title=title, title_align="left", border_style="dim")
    span = max(width - SIDES, NARROWEST)
    moments = thinned(record.moments[topic], span)
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, ratio=1)
    rates = columns([moment.arrival_rate_hz for moment in moments], span, chart_rows, LEAST_RATE_HZ)
    depths = columns([moment.backlog for moment in moments], span, chart_rows, LEAST_BACKLOG)
    grid.add_row("arrivals", Text("\n".join(rates), style=f"dim {color}"), _rates(now, chart_rows))
    grid.add_row("queued", Text("\n".join(depths), style=color), _counts(now, chart_rows))
    limit = record.states[topic].get("workers_max") if topic in record.states else None
    grid.add_row("workers", _bar(now, limit, color, span), workers_text(now, limit, width - span - 19))
    lines = [Text(remark.text, style=remark.style, no_wrap=True, overflow="ellipsis") for remark in noted]
    return Panel(
        Group(grid, *lines[:MOST_REMARKS], _last(record, topic, now_s)),
        title=title,
        title_align="left",
        border_style=_border(noted) or ("dim" if now.is_empty else color),
        padding=(0, 1),
    )


def columns(values: Sequence[float | None], width: int, rows: int, least_top: float) -> list[str]:
    """A column chart of the last values, newest at the right: ``rows`` strings of ``width``.

    The highest value is a full column, unless it is below ``least_top``: else 3 messages would look like 3,000. Of
    [0, 4, 8] with width 3, one row and least_top 1: " ▄█". What is more than nothing shows; unknown is a gap.
    """
    shown = [value or 0.0 for value in values][-width:]
    shown = [0.0] * (width - len(shown)) + shown
    top = max(*shown, least_top)
    steps = len(EIGHTHS) - 1
    heights = [max(round(value / top * rows * steps), 1 if value > 0 else 0) for value in shown]
    return [
        "".join(EIGHTHS[min(max(height - row * steps, 0), steps)] for height in heights)
        for row in reversed(range(rows))
    ]


def workers_text(now: Moment, limit: int | None = None, room: int = 80) -> str:
    """``8 of 10, target 9, 1 starting``; where this is longer than ``room``: ``8 of 10, target 9, +1``."""
    count = (
        f"{now.observed} worker{'' if now.observed == 1 else 's'}" if limit is None else f"{now.observed} of {limit}"
    )
    target = f"target {now.target}" if now.target is not None and now.target != now.observed else ""
    words = [f"{now.starting} starting" if now.starting else "", f"{now.draining} draining" if now.draining else ""]
    signs = [f"+{now.starting}" if now.starting else "", f"-{now.draining}" if now.draining else ""]
    in_words, in_signs = (", ".join(filter(None, [count, target, *moving])) for moving in (words, signs))
    return in_words if len(in_words) <= room else in_signs


def figure(value: float | None) -> str:
    """Whole from 10 on, one digit behind the point below, ``-`` for unknown."""
    return "-" if value is None else f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _border(noted: Sequence[Remark]) -> str | None:
    worst = max(noted, key=lambda remark: remark.severity, default=None)
    return worst.style if worst is not None and worst.severity else None


def _rates(now: Moment, rows: int) -> Text:
    wait = "-" if now.wait_p95_s is None else f"{now.wait_p95_s:.2f} s"
    return Text.assemble((f"{figure(now.arrival_rate_hz)}/s", "bold"), _next(rows), ("wait p95 ", "dim"), wait)


def _counts(now: Moment, rows: int) -> Text:
    retrying = "" if not now.retrying else f", {now.retrying} retrying"
    held = f"{figure(now.held)} in workers{retrying}"
    return Text.assemble((figure(now.backlog), "bold"), _next(rows), (held, "dim"))


def _next(rows: int) -> str:
    """What stands between the two figures beside a chart: with one row they share it."""
    return "\n" if rows > 1 else "  "


def _bar(now: Moment, limit: int | None, color: str, width: int) -> Text:
    """A square each: working; starting or draining (hollow); room up to workers.max (a dot). Many share a square."""
    moving = now.starting + now.draining
    room = max(0, (limit or now.target or 0) - now.observed - moving)
    counts = [now.observed, moving, room]
    if (whole := sum(counts)) > width:
        counts = [-(-count * width // whole) for count in counts]
    cell = "■ " if 2 * whole <= width else "■"
    bar = Text.assemble(
        (cell * counts[0], color),
        (cell.replace("■", "□") * counts[1], color),
        (cell.replace("■", "·") * counts[2], "dim"),
    )
    bar.truncate(width)
    return bar


def _last(record: Recording, topic: str, now_s: float) -> Text:
    marks = record.marks[topic]
    if not marks:
        return Text("no decision yet", style="dim")
    last = marks[-1]
    text = Text(no_wrap=True, overflow="ellipsis")
    return text.append(f"{ago(last.at_s + record.zero_s, now_s)}  ", style="dim").append(last.text)
