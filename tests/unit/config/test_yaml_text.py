"""YAML as the configuration reads it: plain values, decimal numbers, no surprise; never the text in a mistake."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hermes_ray.config.yaml_text import NotDecimal, NotPlain, NotYaml, notation, parse_yaml, write_yaml

PLAIN = [
    ("", None),
    ("# nothing", None),
    ("a: {b: [1, -2, +3, 1_000, 0]}", {"a": {"b": [1, -2, 3, 1000, 0]}}),
    ("[.5, 1., 1.5, 1e3, -1.5E-3, 1_000.5]", [0.5, 1.0, 1.5, 1000.0, -0.0015, 1000.5]),
    ("[.inf, -.INF]", [math.inf, -math.inf]),
    ("[true, No, on, OFF, yes]", [True, False, True, False, True]),
    ("[~, null, ]", [None, None]),
    ("[2020-01-01, 1.2.3, 1__0, ., m:f, =]", ["2020-01-01", "1.2.3", "1__0", ".", "m:f", "="]),
    ("[12:99, e5, a 010, ٤]", ["12:99", "e5", "a 010", "٤"]),
    ("['010', \"1:30\", !!str 0x1F, '']", ["010", "1:30", "0x1F", ""]),
    ("[!!float 5, !!binary aGk=]", [5.0, b"hi"]),
    ("{1: a, no: b, x.y: c, 1.5: d}", {1: "a", False: "b", "x.y": "c", 1.5: "d"}),
    ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}),
    ("[&x {p: [1]}, *x]", [{"p": [1]}, {"p": [1]}]),
    ("{<<: [{p: 1}, {p: 2, q: 2}], r: 3}", {"p": 1, "q": 2, "r": 3}),
    ("a: <<", {"a": "<<"}),
    ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
]  # fmt: skip

NO_YAML = [
    ("a: {b: 1\nc: 2", 2, "expected ',' or '}'"),
    ("a: *hunter2", 1, "found undefined alias"),
    ("a: !hunter2 x", 1, "tags (!...) are not read; put text that begins with ! in quotes"),
    ("a: !!set {x}", 1, "tags (!...) are not read"),
    ("a: !!python/object/apply:os.getcwd []", 1, "tags (!...) are not read"),
    ("a: 1\nb: 2\na: 3", 3, "found duplicate key a"),
    ("? [a]\n: 1", 1, "found unhashable key"),
    ("a: &t {b: *t}", 1, "YAML recursive aliases are not supported"),
    ("<<: 3", 1, "<< takes a mapping, or a list of mappings"),
    ("a: 1\n---\nb: 2", 2, "expected a single document in the stream but found another document"),
    ("a: \x00", None, "a character that YAML does not allow"),
]


@pytest.mark.parametrize(("text", "value"), PLAIN)
def test_yaml_becomes_plain_values(text: str, value: Any) -> None:
    assert parse_yaml(text) == value


@pytest.mark.parametrize(("text", "line", "problem"), NO_YAML)
def test_what_is_no_yaml_is_told_with_its_line_and_without_its_text(text: str, line: int | None, problem: str) -> None:
    with pytest.raises(NotYaml) as caught:
        parse_yaml(text)
    assert caught.value.line == line
    assert problem in caught.value.problem
    assert "hunter2" not in caught.value.problem


@pytest.mark.parametrize(
    ("text", "what", "instead"),
    [
        ("010", "octal", "8 or 10"),
        ("-0_17", "octal", "-15 or -17"),
        ("007", "octal", "7"),
        ("08", "no number, for its leading zero", "8"),
        ("0o17", "octal", "15"),
        ("0x1F", "hexadecimal", "31"),
        ("0XfF", "hexadecimal", "255"),
        ("+0b101", "binary", "5"),
        ("1:30", "a number in sixtieths", "90"),
        ("-1:00:00.5", "a number in sixtieths", "-3600.5"),
        ("09:30", "a number in sixtieths", "570"),
    ],
)
def test_a_number_that_is_not_decimal_is_refused_where_it_stands(text: str, what: str, instead: str) -> None:
    for value in (text, f"!!int {text}" if ":" not in text else text):
        with pytest.raises(NotDecimal) as caught:
            parse_yaml(f"a: {{b: [x, {value}]}}")
        assert (caught.value.text, caught.value.path, caught.value.is_key) == (text, ("a", "b", 1), False)
    assert notation(text) == (what, instead)


@pytest.mark.parametrize("text", ["0x" + "f" * 5_000, "0" + "1" * 5_000, "x", "1f", "1.5", "1:x", ""])
def test_what_only_a_tag_calls_a_number_and_what_is_far_too_long_is_no_number(text: str) -> None:
    assert notation(text) == ("no number", "a decimal number")


def test_a_key_that_is_not_decimal_or_not_plain_is_refused() -> None:
    with pytest.raises(NotDecimal) as caught:
        parse_yaml("{a: {010: 1}}")
    assert (caught.value.path, caught.value.is_key) == (("a",), True)
    with pytest.raises(NotPlain) as none:
        parse_yaml("{a: {null: 1}}")
    assert (none.value.path, none.value.what, none.value.is_key) == (("a",), "null", True)


@pytest.mark.parametrize("text", ["!!float hunter2", "!!bool hunter2", "!!binary é", "9" * 5_000])
def test_what_cannot_be_read_is_told_with_its_place_and_without_its_text(text: str) -> None:
    for whole, is_key in ((f"a: [{text}]", False), (f"a: [{{? {text} : 1}}]", True)):
        with pytest.raises(NotPlain) as caught:
            parse_yaml(whole)
        assert (caught.value.path, caught.value.is_key) == (("a", 0), is_key)
        assert caught.value.what == "a number of too many digits, or no value of its tag (!!...)"


@pytest.mark.parametrize("deep", ["[" * 100_000, "- " * 100_000 + "x", "{a: " * 100_000, "? " * 100_000 + "x"])
def test_nesting_has_an_end(deep: str) -> None:
    """The C parser alone would overflow its stack and take the process with it."""
    with pytest.raises(NotYaml, match="more than 64 levels deep"):
        parse_yaml(deep)


def test_aliases_of_aliases_have_an_end() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(NotYaml, match="stand for more than 1000000 values"):
        parse_yaml("\n".join(lines))


NUMBERS = st.from_regex(r"[-+]?(?:0[xob]?)?[0-9_]{1,3}(?:[:.][0-9]{1,2})?(?:e[0-9])?", fullmatch=True)
WORDS = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
WORDS |= NUMBERS | st.sampled_from(["yes", "Null", "~", "<<", "=", ".inf", "2020-01-01", "on", "1e3", "08", "0o7"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)


@given(value=VALUES)
def test_what_is_written_is_read_as_it_was_here_and_by_pyyaml(value: Any) -> None:
    assert parse_yaml(write_yaml(value)) == value
    assert yaml.safe_load(write_yaml(value)) == value


def test_a_byte_that_is_no_utf8_is_no_yaml() -> None:
    with pytest.raises(NotYaml, match="a character that YAML does not allow"):
        parse_yaml("a: \udcff")
