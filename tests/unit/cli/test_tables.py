"""Tables and sentences on terminals of any width: numbers whole, names folded last; into a pipe as wide as ever."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hermes_ray.cli import schema_table, status, workers
from hermes_ray.cli.tables import console_of, figure, print_table, say
from hermes_ray.config.schema import schema_rows

LONG = "a-very-long-topic-name.of.one.tenant-in-europe"
BIG: dict[str, Any] = {
    "depth": 123456789, "held": 654321, "retrying": 98765, "oldest_age_s": 86400.5, "arrival_rate_hz": 12345.6,
    "service_rate_hz": 2.6, "wait_p95_s": 3599.9, "outdated": 345,
    "override": {"kind": "pinned", "count": 1300, "until": None},
    "workers": {"observed": 1234, "starting": 567, "draining": 12, "target": 1300},
}  # fmt: skip
SMALL = BIG | {
    "depth": 412, "held": 93, "retrying": 0, "oldest_age_s": 9.04, "arrival_rate_hz": 31.02, "wait_p95_s": None,
    "outdated": 0, "override": None, "workers": {"observed": 8, "starting": 2, "draining": 0, "target": 13},
}  # fmt: skip


def console(width: int, *, is_terminal: bool = True) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width, force_terminal=is_terminal, color_system=None, highlight=False), out


def shown(width: int, topics: dict[str, dict[str, Any]], *, is_terminal: bool = True) -> list[str]:
    """The lines of the table of ``hermes status``, without blank ones."""
    terminal, out = console(width, is_terminal=is_terminal)
    rows = [status._cells(topic, state) for topic, state in topics.items()]
    print_table(terminal, ["topic"], status.COLUMNS, rows)
    return [line for line in out.getvalue().splitlines() if line.strip()]


def below_the_rule(lines: list[str]) -> list[str]:
    (rule,) = [n for n, line in enumerate(lines) if set(line.strip()) == {"─"}]
    return lines[rule + 1 :]


def test_usual_topics_take_one_line_each_at_80_columns() -> None:
    lines = shown(80, {"player_crawl": SMALL, "instance_store": SMALL})
    rows = below_the_rule(lines)
    assert [row.split() for row in rows] == [
        [topic, "412", "93", "0", "9.04", "31", "2.6", "-", "8", "+2", "13"]
        for topic in ("player_crawl", "instance_store")
    ]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("topic", ["orders", LONG, LONG * 3])
@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_large_numbers_stay_whole_whatever_the_topic_is_called(topic: str, width: int) -> None:
    lines = shown(width, {topic: BIG, "idle": SMALL})
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for number in ("123456789", "654321", "98765", "86400", "12346", "2.6", "3600", "+567", "-12,", "345", "1300"):
        assert number in words


def test_a_long_name_is_whole_where_stacking_the_numbers_makes_room() -> None:
    assert LONG[:40] in " ".join(shown(80, {LONG[:40]: SMALL}))
    lines = shown(80, {LONG * 2: SMALL})
    assert LONG * 2 not in " ".join(lines)
    assert "".join(line.split()[0] for line in below_the_rule(lines) if line[1] != " ") == LONG * 2


def test_a_stacked_number_stands_under_its_heading() -> None:
    lines = shown(80, {LONG[:20]: SMALL})
    heads, rows = lines[: len(lines) - len(below_the_rule(lines)) - 1], below_the_rule(lines)
    assert len(heads) == len(rows) == 2
    for heading, value in (("depth", "412"), ("retrying", "0"), ("slot does/s", "2.6"), ("target", "13")):
        (at,) = [n for n, line in enumerate(heads) if heading in line]
        end = heads[at].index(heading) + len(heading)
        assert rows[at][:end].endswith(f" {value}"), heading


@given(
    names=st.lists(st.from_regex(r"[A-Za-z0-9_.-]{1,90}", fullmatch=True), min_size=2, max_size=2),
    numbers=st.lists(st.integers(0, 10**12), min_size=9, max_size=9),
    width=st.integers(50, 230),
)
def test_no_width_and_no_number_breaks_a_row(names: list[str], numbers: list[int], width: int) -> None:
    terminal, out = console(width)
    rows = [[name, *map(str, numbers)] for name in names]
    print_table(terminal, ["topic"], status.COLUMNS, rows)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for number in numbers:
        assert words.count(str(number)) >= 2


def test_a_pipe_gets_a_row_a_line_whatever_is_in_it() -> None:
    (row, idle) = below_the_rule(shown(160, {LONG[:30]: BIG, "idle": SMALL}, is_terminal=False))
    assert row.split() == [
        LONG[:30], "123456789", "654321", "98765", "86400", "12346", "2.6", "3600", "1234", "+567", "-12,", "345",
        "old", "1300", "pinned",
    ]  # fmt: skip
    assert idle.split()[0] == "idle"


def test_a_pipe_that_is_told_a_width_keeps_to_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_table(console_of(160), ["topic"], status.COLUMNS, [status._cells(LONG[:30], BIG)])
    say(console_of(160), "many words " * 20)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "123456789" in " ".join(lines).split()


@pytest.mark.parametrize("variable", ["COLUMNS", "LINES"])
@pytest.mark.parametrize("size", ["0", "00", "", "-80", "²", "٣", "wide", "9" * 5000])
def test_a_size_in_the_environment_that_is_none_does_not_count(
    variable: str, size: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, size)
    print_table(console_of(160), ["topic"], status.COLUMNS, [status._cells("orders", SMALL)])
    assert capsys.readouterr().out.splitlines()[-2].split()[0] == "orders"


@pytest.mark.parametrize("name", ["orders/3f2a91bc", f"{LONG}/3f2a91bc"])
def test_workers_fit_80_columns_with_their_numbers_whole(name: str) -> None:
    worker = {
        "worker": name, "phase": "consuming", "outdated": True, "node": "ab" * 28, "pid": 4194303, "slots": 10000,
        "running": 9999, "held": 65535, "acked": 123456789012, "retried": 1234567, "dead_lettered": 7654321,
        "reconnects": 98765, "longest_running_s": 12.0, "age_s": 300.0, "report_age_s": 0.4,
    }  # fmt: skip
    terminal, out = console(80)
    numbers = [*workers.COUNTS.values(), *workers.DURATIONS.values()]
    print_table(terminal, workers.NAMES, numbers, [workers._cells(worker)])
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    words = " ".join(lines).split()
    for number in ("4194303", "10000", "9999", "65535", "123456789012", "1234567", "7654321", "98765", "12", "5", "0"):
        assert number in words
    assert (name in words) is (name == "orders/3f2a91bc")
    assert "outdated" in words


def test_a_sentence_is_folded_between_words_on_a_terminal_only() -> None:
    sentence = (
        f"{LONG}, 12 s ago: 812 -> 1,300 workers: 123456789 messages wait, 12345.6 arrive each second, up at once"
    )
    terminal, out = console(80)
    say(terminal, sentence)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(line.strip() for line in lines) == sentence
    assert [line.startswith("    ") for line in lines] == [False, *[True] * (len(lines) - 1)]
    pipe, out = console(80, is_terminal=False)
    say(pipe, sentence)
    assert out.getvalue() == f"{sentence}\n"


@pytest.mark.parametrize("width", [80, 139, 140, 200])
def test_every_key_of_the_schema_is_whole_and_so_are_its_numbers(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, out = console(width)
    monkeypatch.setattr(schema_table, "console_of", lambda _columns: terminal)
    schema_table.print_schema(schema_rows())
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    words = re.split(r"[\s,]+", text)
    for row in schema_rows():
        assert row.key in words
        assert all(number in words for number in re.findall(r"(?<![\w.])\d[\d.]*\b", row.allowed))
        assert not row.default.replace(".", "").isdecimal() or row.default in words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (123456, "123456"),
        (9.04, "9.04"),
        (0.5, "0.5"),
        (999.6, "1000"),
        (99.96, "100"),
        (412.4, "412"),
        (86400.4, "86400"),
    ],
)
def test_a_figure_has_three_digits_or_is_whole(value: float | None, text: str) -> None:
    assert figure(value) == text
