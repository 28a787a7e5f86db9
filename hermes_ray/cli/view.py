"""The demo on a terminal: a panel a topic, drawn from the record; pure but for the size it is given."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hermes_ray.cli.record import Moment, Record

__all__ = ["columns", "line", "thinned", "view"]

COLORS = ("dodger_blue2", "dark_orange", "spring_green3")
EIGHTHS = " ▁▂▃▄▅▆▇█"
CHART_ROWS = 2
LEAST_RATE_HZ, LEAST_BACKLOG = 4.0, 40.0
SIDES = 50  # what surrounds a chart: labels, figures, borders
NARROWEST = 20


def view(record: Record, limits: dict[str, int], *, phase: str, elapsed_s: float, link: str, width: int) -> Layout:
    """The whole screen. ``limits``: workers.max by topic; ``link``: the dashboard; ``width``: of the terminal."""
    layout = Layout()
    head = Layout(_head(phase, elapsed_s, link), size=2)
    panels = [
        Layout(_panel(record, topic, limits[topic], color, elapsed_s, width))
        for topic, color in zip(record.moments, COLORS, strict=True)
    ]
    layout.split_column(head, *panels)
    return layout


def line(record: Record, phase: str, elapsed_s: float) -> str:
    """The same in one line, for what is no terminal."""
    seen = {topic: now for topic in record.moments if (now := record.now(topic)) is not None}
    parts = [f"{topic} {_figure(now.backlog)} queued, {_workers(now)}" for topic, now in seen.items()]
    return f"{elapsed_s:5.0f} s  {phase}{': ' if parts else ''}{'; '.join(parts)}"


def columns(values: Sequence[float | None], width: int, rows: int, least_top: float) -> list[str]:
    """A column chart of the last values, newest at the right: ``rows`` strings of ``width``.

    The highest value is a full column, unless it is below ``least_top``: little shall look little. Of [0, 4, 8] with
    width 3, one row and least_top 1: " ▄█". What is more than nothing shows; unknown is a gap.
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


def thinned(moments: Sequence[Moment], count: int) -> list[Moment]:
    """At most ``count`` of the moments, evenly; the last one is always among them."""
    stride = max(1, -(-len(moments) // count))
    return list(moments[::-1][::stride])[::-1]


def _head(phase: str, elapsed_s: float, link: str) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_row(
        Text.assemble((" hermes ", "bold reverse"), f" {max(elapsed_s, 0.0):.0f} s  ", (phase, "bold")),
        Text(f"Ray dashboard {link} ", style="dim"),
    )
    return grid


def _panel(record: Record, topic: str, limit: int, color: str, elapsed_s: float, width: int) -> Panel:
    now = record.now(topic)
    title = Text(f" {topic} ", style=f"bold {color}")
    if now is None:
        return Panel(Text("no status yet", style="dim"), title=title, title_align="left", border_style="dim")
    span = max(width - SIDES, NARROWEST)
    moments = thinned(record.moments[topic], span)
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, ratio=1)
    rates = columns([moment.arrival_rate_hz for moment in moments], span, CHART_ROWS, LEAST_RATE_HZ)
    depths = columns([moment.backlog for moment in moments], span, CHART_ROWS, LEAST_BACKLOG)
    grid.add_row("arrivals", Text("\n".join(rates), style=f"dim {color}"), _rates(now))
    grid.add_row("queued", Text("\n".join(depths), style=color), _counts(now))
    grid.add_row("workers", _bar(now, limit, color, span), _workers(now, limit))
    return Panel(
        Group(grid, _last(record, topic, elapsed_s)),
        title=title,
        title_align="left",
        border_style="dim" if now.is_empty else color,
        padding=(0, 1),
    )


def _rates(now: Moment) -> Text:
    wait = "-" if now.wait_p95_s is None else f"{now.wait_p95_s:.2f} s"
    return Text.assemble((f"{_figure(now.arrival_rate_hz)}/s", "bold"), ("\nwait p95 ", "dim"), wait)


def _counts(now: Moment) -> Text:
    retrying = "" if not now.retrying else f", {now.retrying} retrying"
    return Text.assemble((_figure(now.backlog), "bold"), (f"\n{_figure(now.held)} in workers{retrying}", "dim"))


def _bar(now: Moment, limit: int, color: str, width: int) -> Text:
    """A square each: working, starting or draining (hollow), and room up to workers.max (a dot)."""
    moving = now.starting + now.draining
    room = max(0, limit - now.observed - moving)
    cell = "■ " if 2 * limit <= width else "■"
    return Text.assemble(
        (cell * now.observed, color),
        (cell.replace("■", "□") * moving, color),
        (cell.replace("■", "·") * room, "dim"),
    )


def _workers(now: Moment, limit: int | None = None) -> str:
    words = [
        f"{now.observed} worker{'' if now.observed == 1 else 's'}" if limit is None else f"{now.observed} of {limit}",
        f"target {now.target}" if now.target is not None and now.target != now.observed else "",
        f"{now.starting} starting" if now.starting else "",
        f"{now.draining} draining" if now.draining else "",
    ]
    return ", ".join(filter(None, words))


def _last(record: Record, topic: str, elapsed_s: float) -> Text:
    marks = record.marks[topic]
    if not marks:
        return Text("no decision yet", style="dim")
    last = marks[-1]
    return Text().append(f"{max(elapsed_s - last.at_s, 0.0):.0f} s ago  ", style="dim").append(last.text)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
