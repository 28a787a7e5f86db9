"""What a deployment looks like on a terminal of any size, with any number of topics."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from hermes_ray.cli.panel import columns
from hermes_ray.cli.record import Recording
from hermes_ray.cli.view import COLORS, Head, line, view
from tests.support.statuses import TOPICS, a_record, pinned, state, status_of

SIZES = [(80, 24), (100, 30), (120, 40), (200, 60)]
HEAD = Head(title="deployment hermes, applied 5 min ago, driver serve on host", brief="hermes")
LONG = "a-very-long-topic-name.of.one.tenant-in-europe"
NOW_S = 1_059.0


def screen(record: Recording, width: int, height: int, head: Head = HEAD, now_s: float = NOW_S) -> list[str]:
    """Its lines, each as wide as the terminal."""
    console = Console(width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(view(record, head, now_s, width=width, height=height))
    lines = capture.get().splitlines()
    assert len(lines) == height
    assert {len(line) for line in lines} == {width}
    return lines


def record_of(**topics: Any) -> Recording:
    record = Recording(zero_s=1_000.0)
    for second in range(60):
        record.add(status_of(topics), 1_000.0 + second)
    return record


def many(count: int, **special: Any) -> Recording:
    return record_of(**{f"topic_{n}": state(depth=n) for n in range(count)} | special)


@pytest.mark.parametrize("record", [a_record(decided=1_010.0, depth=412), a_record(depth=None), Recording(TOPICS, 0.0)])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_three_topics_fit_a_terminal_whatever_is_known(record: Recording, width: int, height: int) -> None:
    lines = screen(record, width, height)
    assert all(any(f" {topic} " in line for line in lines) for topic in TOPICS)
    assert sum("╭" in line for line in lines) == 3, "each has a panel"
    assert not any("Layout" in line for line in lines)


def test_a_panel_tells_queue_workers_and_the_last_decision() -> None:
    shown = "\n".join(screen(a_record(decided=1_010.0, depth=412, held=8, observed=2), 100, 30))
    for words in ("420", "8 in workers", "2 of 7, target 3", "49 s ago  1 -> 3 workers: 40 waiting", "wait p95 0.50 s"):
        assert words in shown


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_conditions_overrides_and_failures_stand_in_the_panel_of_their_topic(width: int, height: int) -> None:
    troubled = state(conditions=["saturated", "from_a_newer_scaler"], override=pinned(5), start_error="no module m")
    lines = screen(record_of(orders=troubled, idle=state()), width, height)
    first, second = (next(n for n, line in enumerate(lines) if mark in line) for mark in (" orders ", " idle "))
    above = "\n".join(lines[first:second])
    for words in ("pinned to 5 workers until hermes resume orders", "saturated: Every slot is busy", "from_a_newer"):
        assert words in above


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 12, 50, 1000])
def test_any_number_of_topics_fits_and_what_is_not_shown_is_counted(count: int, width: int, height: int) -> None:
    lines = screen(many(count), width, height)
    shown = {word for line in lines for word in line.split() if word.startswith("topic_")}
    text = "\n".join(lines)
    assert len(shown) == count or f"and {count - len(shown):,} more topic" in text
    assert len(shown) == count or len(shown) == height - 4, "no row is wasted"
    assert "Layout" not in text


def test_wide_terminals_show_panels_side_by_side() -> None:
    assert any(line.count("╭") == 2 for line in screen(many(9), 200, 60))
    assert all(line.count("╭") < 2 for line in screen(many(9), 120, 60))


def test_the_troubled_come_first_then_the_busiest() -> None:
    record = many(
        100, broken=state(depth=0, start_error="no module m"), slow=state(depth=1, conditions=["saturated"]),
        calm=state(depth=9, override=pinned(1)),
    )  # fmt: skip
    lines = screen(record, 80, 24)
    rows = [line.split() for line in lines[3:-1]]
    assert [rows[0][0], rows[1][0]] == ["broken", "slow"]
    assert rows[0][-2:] == ["no", "start"]
    assert rows[1][-1] == "saturated"
    assert all(int(row[0].removeprefix("topic_")) >= 64 for row in rows[2:])
    assert lines[-1].rstrip() == "and 83 more topics: hermes status shows all"


def test_what_is_wrong_beyond_the_last_row_is_counted() -> None:
    record = record_of(**{f"topic_{n}": state(conditions=["stalled"]) for n in range(50)})
    last = screen(record, 80, 24)[-1]
    assert last.rstrip() == "and 30 more topics, 30 of them with something wrong: hermes status shows all"


def test_rows_keep_numbers_and_conditions_whole_and_shorten_names() -> None:
    big = state(
        depth=123_456_789, held=0, observed=1234, conditions=["objective_at_risk", "capacity_exhausted"],
        workers={"observed": 1234, "starting": 567, "draining": 12, "target": 1300},
    )  # fmt: skip
    text = "\n".join(screen(many(20, **{LONG: big}), 80, 24))
    for words in ("123,456,789", "1234 +567 -12", "1,300", "objective_at_risk,", "capacity_exhausted", "a-very-long"):
        assert words in text
    assert LONG not in text
    assert LONG in "\n".join(screen(many(50, **{LONG: big}), 200, 60))


def test_a_panel_keeps_its_numbers_whole_at_80_columns() -> None:
    big = state(
        depth=123_456_789, held=654_321, retrying=98_765, arrival_rate_hz=12_345.6, wait_p95_s=3_599.9,
        workers={"observed": 1234, "starting": 567, "draining": 12, "target": 1300}, workers_max=2000,
    )  # fmt: skip
    text = "\n".join(screen(record_of(orders=big, idle=big), 80, 24))
    for words in (
        "124,111,110", "654,321 in workers, 98765 retrying", "12,346/s", "3599.90 s",
        "1234 of 2000, target 1300, +567, -12",
    ):  # fmt: skip
        assert words in text


def test_without_a_limit_the_bar_reaches_to_the_target() -> None:
    lone = state(observed=2)
    del lone["workers_max"]
    text = "\n".join(screen(record_of(orders=lone), 80, 24))
    assert "■ ■ · " in text
    assert "2 workers, target 3" in text


def test_colours_do_not_run_out() -> None:
    console = Console(width=200, height=60, force_terminal=True, color_system="truecolor")
    with console.capture() as capture:
        console.print(view(many(2 * len(COLORS)), HEAD, NOW_S, width=200, height=60))
    assert "topic_15" in capture.get()


def test_the_head_says_what_befell_the_scaler_and_else_adds_up_the_topics() -> None:
    link = "metrics http://127.0.0.1:9464/metrics"
    lines = screen(a_record(depth=400), 80, 24, Head(title=HEAD.title, brief="hermes", link=link))
    assert lines[0].rstrip() == f" hermes   {HEAD.title}"
    assert lines[1].split(maxsplit=6)[:6] == ["3", "topics,", "1,200", "queued,", "3", "workers"]
    assert lines[1].endswith(link)
    noticed = Head(title=HEAD.title, brief="hermes", link=link, notice="the scaler was restarted 3 s ago")
    assert screen(a_record(), 80, 24, noticed)[1].startswith("the scaler was restarted 3 s ago")
    assert screen(a_record(), 200, 60, noticed)[0].endswith(link)


def test_one_line_says_the_same_for_what_is_no_terminal() -> None:
    record = a_record(decided=1_010.0, depth=412, held=8, observed=2, conditions=["saturated"], override=pinned(2))
    said = line(record, "load", NOW_S)
    assert said.startswith("   59 s  load: fast 420 queued, 2 workers, target 3 (pinned 2, saturated); slow 420 queued")
    assert line(Recording(), "load", 3.0) == "    3 s  load"


def test_one_line_names_the_busiest_of_many_topics_and_how_many_more_there_are() -> None:
    said = line(many(1000, broken=state(depth_error="404")), "hermes", NOW_S)
    assert said.startswith("   59 s  hermes: broken 0 queued")
    assert said.endswith("; and 996 more")
    assert said.count(" queued") == 5


def test_a_chart_fills_its_highest_column_and_shows_the_newest_at_the_right() -> None:
    assert columns([0, 4, 8], width=3, rows=1, least_top=1.0) == [" ▄█"]
    assert columns([8], width=3, rows=2, least_top=1.0) == ["  █", "  █"]
    assert columns([1, 2, 3, 8], width=2, rows=1, least_top=1.0) == ["▃█"]


def test_a_chart_makes_little_look_little_but_not_nothing() -> None:
    assert columns([0, 0.01, None], width=3, rows=1, least_top=40.0) == [" ▁ "]
