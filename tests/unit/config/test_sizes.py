"""Sizes of memory with units, and what is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_ray.config.loading import load, masked_yaml
from hermes_ray.config.sizes import PATTERN, parse_bytes, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 * 2**30),
        ("500MB", 500_000_000),
        ("1.5 GB", 1_500_000_000),
        ("1.5GiB", 3 * 2**29),
        (" 2  tib ", 2**41),
        ("7 kb", 7000),
        ("7KiB", 7168),
        ("12 B", 12),
        ("1.1 GiB", 1_181_116_006),
        ("0.4 B", 0),
    ],
)
def test_a_size_with_a_unit_is_bytes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "4", "4G", "4Gi", "GB", "-1GB", "1,5GB", "1.5.5GB", ".5GB", "1e3MB", "4iB", "4GiBs", "4G B", "0x4GB", "infGB"],
)  # fmt: skip
def test_what_has_no_clear_meaning_is_no_size(text: str) -> None:
    assert parse_bytes(text) is None


@given(text=st.text(alphabet="0123456789. kKMGTiB", max_size=10))
def test_the_pattern_for_editors_takes_what_is_taken(text: str) -> None:
    assert (re.search(PATTERN, text) is not None) == (parse_bytes(text) is not None)


def test_memory_is_kept_in_bytes_and_what_is_shown_can_be_read_again(tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    for memory in ("4GiB", "4 GiB", "'4GiB'", "4294967296", "'4294967296'", "4_294_967_296"):
        file.write_text(f"topics: {{a: {{handler: m:f, worker: {{memory: {memory}}}}}}}")
        config = load(file)
        assert config.topics["a"].worker.memory == 4 * 2**30
        file.write_text(masked_yaml(file).replace("guest:***", "guest:guest"))
        assert load(file) == config
    assert load(None, ["topics.a.handler=m:f", "topics.a.worker.memory=1.5 GB"]).topics["a"].worker.memory == 1.5e9


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (4 * 2**30, "4GiB"),
        (1_500_000_000, "1.39GiB"),
        (2**40 - 1, "1023.99GiB"),
        (2**52, "4096TiB"),
    ],
)
def test_a_size_is_shown_in_the_largest_unit_and_never_as_more_than_it_is(count: int, text: str) -> None:
    assert size_text(count) == text
    assert (parse_bytes(text) or 0) <= count
