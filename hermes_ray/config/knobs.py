"""How a knob is declared: what it means, what it may be, what a change of it takes. ``settings`` has the knobs."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hermes_ray.config.sizes import EXAMPLES, PATTERN, parse_bytes

__all__ = ["Knob", "Takes", "amount", "choice", "declare", "knob", "number", "rolling_values", "section", "size"]
__all__ += ["switch", "text"]

_MOST_BYTES = 10**14

SMALLEST_AMOUNT = 0.0001


class Takes(StrEnum):
    """What a change of a knob takes to come true."""

    LIVE = "live"
    """Nothing: the scaler and the living workers follow it at once."""
    ROLLING = "rolling"
    """Workers are replaced, because one is built from it."""
    TOPOLOGY = "topology"
    """The queue is declared anew, then workers are replaced."""
    ANOTHER = "another"
    """It is a name, so another one is meant: that starts, whatever becomes of the one there was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """What one key means: ``unit`` ("" for none), one sentence of ``meaning``, and its check.

    ``allowed`` says in words what ``accepts`` takes and ``schema`` says it in JSON Schema, without the type. ``parse``
    reads a text that is written in a way of its own, None if it cannot. ``secret`` values are never repeated.
    ``alias`` is another name of the key ("" for none), which others have for the same.
    """

    meaning: str
    unit: str = ""
    allowed: str = ""
    accepts: Callable[[Any], bool] | None = None
    schema: Mapping[str, Any] = field(default_factory=dict)
    parse: Callable[[Any], Any] | None = None
    secret: bool = False
    alias: str = ""
    takes: Takes = Takes.LIVE


def declare(default: Any, knob: Knob) -> Any:
    """The dataclass field of a knob; a ``default`` that is a class is called for each value."""
    given = (
        {}
        if default is dataclasses.MISSING
        else {"default_factory" if isinstance(default, type) else "default": default}
    )
    options: dict[str, Any] = {"repr": not knob.secret, "metadata": {"knob": knob}, **given}
    return field(**options)


def number(
    default: Any,
    low: float,
    high: float,
    unit: str,
    meaning: str,
    *,
    takes: Takes = Takes.LIVE,
    above: bool = False,
    below: bool = False,
) -> Any:
    """A number from ``low`` to ``high``; ``above`` leaves ``low`` itself out, ``below`` leaves ``high`` out."""

    def accepts(value: float) -> bool:
        return low <= value <= high and not (above and value == low) and not (below and value == high)

    schema = {"exclusiveMinimum" if above else "minimum": low, "exclusiveMaximum" if below else "maximum": high}
    return declare(
        default,
        Knob(
            meaning=meaning,
            unit=unit,
            allowed=_range(low, high, above=above, below=below),
            accepts=accepts,
            schema={word: int(at) if at == int(at) else at for word, at in schema.items() if math.isfinite(at)},
            takes=takes,
        ),
    )


def _range(low: float, high: float, *, above: bool, below: bool) -> str:
    if not above:
        return f"{low:.15g} to {high:.15g}"
    limit = "" if math.isinf(high) else f" and below {high:.15g}" if below else f", up to {high:.15g}"
    return f"above {low:.15g}{limit}"


def amount(default: Any, high: float, unit: str, meaning: str, *, takes: Takes = Takes.LIVE) -> Any:
    """A quantity of a Ray resource: Ray refuses what is not 0 but below 0.0001, and fractions above 1."""

    def accepts(amount: float) -> bool:
        return (
            amount == 0 or SMALLEST_AMOUNT <= amount <= 1 or (amount <= high and amount == int(amount) and amount > 0)
        )

    return declare(
        default,
        Knob(
            meaning=meaning,
            unit=unit,
            allowed=f"0 or {SMALLEST_AMOUNT:g} to {high:.15g}, whole above 1",
            accepts=accepts,
            schema={
                "anyOf": [{"const": 0}, {"minimum": SMALLEST_AMOUNT, "maximum": 1}, {"minimum": 1, "multipleOf": 1}],
                "maximum": high,
            },
            takes=takes,
        ),
    )


def size(default: int | None, meaning: str, *, takes: Takes = Takes.LIVE) -> Any:
    """Bytes, as a number or such as ``4GiB``."""
    return declare(
        default,
        Knob(
            meaning=meaning,
            unit="bytes",
            allowed=f"1 to {_MOST_BYTES}, or {EXAMPLES}",
            accepts=lambda value: 1 <= value <= _MOST_BYTES,
            schema={"minimum": 1, "maximum": _MOST_BYTES, "pattern": PATTERN},
            parse=parse_bytes,
            takes=takes,
        ),
    )


def choice(default: str | None, choices: tuple[str, ...], meaning: str, *, takes: Takes = Takes.LIVE) -> Any:
    """One of a few words."""
    return declare(
        default,
        Knob(
            meaning=meaning,
            allowed=" or ".join(choices),
            accepts=choices.__contains__,
            schema={"enum": list(choices)},
            takes=takes,
        ),
    )


def switch(default: bool, meaning: str, *, takes: Takes = Takes.LIVE) -> Any:
    """``true`` or ``false``."""
    return declare(default, Knob(meaning=meaning, allowed="true or false", takes=takes))


def text(default: Any, pattern: str, allowed: str, meaning: str, *, takes: Takes = Takes.LIVE) -> Any:
    """Text that ``pattern`` matches as a whole."""
    matches = re.compile(pattern).fullmatch
    return declare(
        default,
        Knob(
            meaning=meaning,
            allowed=allowed,
            accepts=lambda value: matches(value) is not None,
            schema={"pattern": f"^(?:{pattern})$"},
            takes=takes,
        ),
    )


def section(kind: type, meaning: str) -> Any:
    """A mapping with knobs of its own, those of the dataclass ``kind``."""
    return declare(kind, Knob(meaning=meaning))


def knob(entry: dataclasses.Field[Any]) -> Knob:
    """The declaration of one field of a class of ``settings``."""
    declared: Knob = entry.metadata["knob"]
    return declared


def rolling_values(config: Any) -> list[tuple[str, Any]]:
    """The values that workers are built from, a change of which replaces them, each with its key, sorted by key.

    ``config`` is a topic's configuration, or another section's: ``("handler", "m:f"), ("options", {}), ("queue", "a"),
    ... ("worker.num_cpus", 0.25)``. Mappings and lists are the configuration's own.
    """
    return sorted(_rolling(config, ""), key=lambda item: item[0])


def _rolling(config: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            yield from _rolling(value, f"{prefix}{entry.name}.")
        elif knob(entry).takes in (Takes.ROLLING, Takes.TOPOLOGY):
            yield f"{prefix}{entry.name}", value
