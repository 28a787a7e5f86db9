"""Configurations of many topics, written in every way people write them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

__all__ = ["WRITINGS", "large_file"]

_SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "conf" / "hermes.yaml").read_text(encoding="utf-8"))
_TOPIC = {key: value for key, value in _SHIPPED["topics"]["player_crawl"].items() if key != "queue"}
_IN_FLOW = yaml.safe_dump(_TOPIC, default_flow_style=True, width=10**9).strip()


def _every_key(_number: int, _count: int) -> str:
    return "\n" + textwrap.indent(yaml.safe_dump(_TOPIC), "    ").rstrip()


def _merge_keys(number: int, _count: int) -> str:
    return "{<<: *first, weight: 2}" if number else f"&first {_IN_FLOW}"


def _references(number: int, _count: int) -> str:
    retry = "'${topics.t0.retry}'" if number else "{max_attempts: 7}"
    return f"{{handler: m:f, workers: {{min: '${{.max}}'}}, retry: {retry}}}"


def _chain(number: int, count: int) -> str:
    weight = "3" if number == count - 1 else f"'${{topics.t{number + 1}.weight}}'"
    return f"{{handler: m:f, weight: {weight}}}"


WRITINGS: dict[str, Callable[[int, int], str]] = {
    "short": lambda _number, _count: "{handler: m:f}",
    "every key": _every_key,
    "every key in a line": lambda _number, _count: _IN_FLOW,
    "merge keys": _merge_keys,
    "aliases": lambda number, _count: "*first" if number else f"&first {_IN_FLOW}",
    "environment": lambda _number, _count: (
        "{handler: m:f, weight: '${oc.env:NOT_SET,5}', options: {x: 'a-${oc.env:PATH}'}}"
    ),
    "references": _references,
    "a chain of references": _chain,
}
"""The topic of a number, of a file of so many."""


def large_file(writing: str, count: int) -> str:
    """The YAML of ``count`` topics ``t0``, ``t1``, ... in one of ``WRITINGS``."""
    topic: Any = WRITINGS[writing]
    return "topics:\n" + "".join(f"  t{number}: {topic(number, count)}\n" for number in range(count))
