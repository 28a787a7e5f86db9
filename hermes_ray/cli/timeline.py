"""The demo as a picture: arrivals, queue and workers of each topic on one time axis, decisions marked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from hermes_ray.cli.record import Mark, Moment, Recording

__all__ = ["draw", "spaced"]

INK, FAINT, PAPER = "#22272e", "#8b949e", "#ffffff"
COLORS = ("#2f6fb3", "#d9731a", "#2a9d6a")
LABEL_AT = 0.032  # distance of a label from its axis, as a share of the plot's width
WIDTH_IN, HEIGHT_IN, DPI = 16.0, 10.5, 100
LABEL_GAP_S = 3.2
LEAST_BACKLOG = 40.0  # messages at the top of the axis, or more: else a queue of 3 would fill the picture


def draw(record: Recording, title: str, subtitle: str, path: Path, burst: tuple[str, tuple[float, float]]) -> None:
    """Write the picture to ``path`` (PNG). ``burst``: the topic and the seconds of its burst, shaded."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 11,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(
            3 * len(record.moments),
            1,
            sharex=True,
            figsize=(WIDTH_IN, HEIGHT_IN),
            gridspec_kw={"height_ratios": [5, 4, 1.1] * len(record.moments), "hspace": 0.12},
        )
        figure.patch.set_facecolor(PAPER)
        for n, (topic, color) in enumerate(zip(record.moments, cycle(COLORS), strict=False)):
            flow, pool, gap = axes[3 * n : 3 * n + 3]
            gap.set_visible(False)
            _draw_flow(flow, topic, record.moments[topic], color)
            _draw_pool(pool, record.moments[topic], record.marks[topic], color)
            if topic == burst[0]:
                _shade(flow, pool, burst[1])
        _finish(figure, axes, record, title, subtitle)
        figure.savefig(path, dpi=DPI, facecolor=PAPER)
        pyplot.close(figure)


def spaced(marks: Sequence[Mark], gap_s: float) -> list[Mark]:
    """Marks to label: decisions closer than ``gap_s`` to the first of a row are told as one, from its start to its end.

    1 -> 2 at 5 s, 2 -> 4 at 6 s and 4 -> 3 at 20 s with a gap of 3 s: 1 -> 4 at 5 s, 4 -> 3 at 20 s.
    """
    rows: list[Mark] = []
    for mark in marks:
        if rows and mark.at_s - rows[-1].at_s < gap_s:
            first = rows[-1]
            rows[-1] = Mark(at_s=first.at_s, before=first.before, target=mark.target, text=mark.text)
        else:
            rows.append(mark)
    return [row for row in rows if row.before != row.target]


def _draw_flow(flow: Any, topic: str, moments: Sequence[Moment], color: str) -> None:
    """Arrivals as an area on the left scale, the queue as a line on the right one."""
    times = [moment.at_s for moment in moments]
    rates = [_number(moment.arrival_rate_hz) for moment in moments]
    flow.fill_between(times, rates, color=color, alpha=0.22, linewidth=0)
    flow.plot(times, rates, color=color, linewidth=1.2, alpha=0.8)
    flow.set_ylim(0, _top(rates, 1.45))
    flow.set_ylabel("arrivals/s", color=color, fontsize=10)
    flow.yaxis.set_label_coords(-LABEL_AT, 0.5)
    flow.set_title(topic, loc="left", fontsize=13, fontweight="bold", color=color, pad=4)
    queue = flow.twinx()
    backlog = [_number(moment.backlog) for moment in moments]
    queue.plot(times, backlog, color=INK, linewidth=1.4)
    queue.set_ylim(0, max(LEAST_BACKLOG, _top(backlog, 1.15)))
    queue.set_ylabel("queued", color=INK, fontsize=10)
    queue.yaxis.set_label_coords(1 + LABEL_AT, 0.5)
    for axis in (flow, queue):
        axis.locator_params(axis="y", nbins=4, integer=True)
        axis.tick_params(length=0)
    queue.spines[["top", "left", "bottom", "right"]].set_visible(False)


def _draw_pool(pool: Any, moments: Sequence[Moment], marks: Sequence[Mark], color: str) -> None:
    """Workers that consume as steps, the target dashed, and what was decided above them."""
    times = [moment.at_s for moment in moments]
    observed = [float(moment.observed) for moment in moments]
    target = [_number(moment.target) for moment in moments]
    pool.fill_between(times, observed, step="post", color=color, alpha=0.55, linewidth=0)
    pool.step(times, target, where="post", color=INK, linewidth=1.1, linestyle=(0, (3, 2)))
    top = _top(observed + target, 1.0)
    pool.set_ylim(0, top * 1.6)
    pool.set_ylabel("workers", fontsize=10)
    pool.yaxis.set_label_coords(-LABEL_AT, 0.5)
    pool.locator_params(axis="y", nbins=4, integer=True)
    pool.tick_params(length=0)
    shown = [mark for mark in marks if mark.at_s >= times[0]] if times else []
    pool.plot(
        [mark.at_s for mark in shown],
        [mark.target for mark in shown],
        linestyle="none",
        marker="o",
        markersize=5,
        color=PAPER,
        markeredgecolor=INK,
        clip_on=False,
        zorder=5,
    )
    for mark in spaced(shown, LABEL_GAP_S):
        pool.annotate(
            f"{mark.before} → {mark.target}",
            (mark.at_s, max(mark.before, mark.target)),
            xytext=(0, 7),
            textcoords="offset points",
            fontsize=9,
            ha="left",
            color=INK,
        )


def _shade(flow: Any, pool: Any, burst: tuple[float, float]) -> None:
    for axis in (flow, pool):
        axis.axvspan(*burst, color=FAINT, alpha=0.13, linewidth=0, zorder=0)
    flow.annotate(
        "burst", (sum(burst) / 2, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom", color=FAINT
    )


def _finish(figure: Any, axes: Any, record: Recording, title: str, subtitle: str) -> None:
    last_s = max((moments[-1].at_s for moments in record.moments.values() if moments), default=1.0)
    bottom = axes[-2]
    bottom.set_xlim(0, last_s)
    for axis in axes:
        axis.tick_params(labelbottom=False)
        axis.grid(axis="x", color=FAINT, alpha=0.2, linewidth=0.8)
    bottom.tick_params(labelbottom=True)
    bottom.set_xlabel("seconds")
    figure.subplots_adjust(left=0.055, right=0.945, top=0.895, bottom=0.025)
    figure.text(0.055, 0.965, title, fontsize=19, fontweight="bold")
    figure.text(0.055, 0.94, subtitle, fontsize=12, color=FAINT)
    figure.text(
        0.945,
        0.94,
        "area: arrivals/s    line: messages queued    bars: workers    dashed: target    ○ decision",
        fontsize=10,
        color=FAINT,
        ha="right",
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _top(values: Sequence[float], headroom: float) -> float:
    known = [value for value in values if value == value]  # noqa: PLR0124  (leaves out NaN, which max() may return)
    return max([1.0, *known]) * headroom
