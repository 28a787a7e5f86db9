"""Arguments that a topic may give its queue: which are known, what they may be, and which cannot work here.

They never change: RabbitMQ refuses to declare a queue again with others. So what would be ignored, refused or lose
messages is told before there is such a queue.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hermes_ray.config.yaml_text import INT

__all__ = ["KNOWN", "SINGLE_ACTIVE", "ArgumentValue", "Known", "argument_value", "is_argument_name", "never", "schema"]
__all__ += ["unfit", "unknown"]

ArgumentValue = str | int | bool

SINGLE_ACTIVE = "x-single-active-consumer"

_MOST = 2**63 - 1  # what AMQP's widest integer holds
_MOST_TEXT_BYTES = 255
_BOTH, _QUORUM, _CLASSIC = ("quorum", "classic"), ("quorum",), ("classic",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One argument: its ``kind``, the queue types that have it, a number's range, a text's choices or length."""

    kind: type
    types: tuple[str, ...] = _BOTH
    low: int = 0
    high: int = _MOST
    choices: tuple[str, ...] = ()
    most_bytes: int | None = None

    @property
    def allowed(self) -> str:
        """In words."""
        if self.kind is int:
            return f"a whole number {self.low} to {self.high}"
        if self.most_bytes is not None:
            return f"text of at most {self.most_bytes} bytes"
        return "true or false" if self.kind is bool else " or ".join(self.choices) or "text"

    def accepts(self, value: ArgumentValue) -> bool:
        """Whether a value of this kind is in its range."""
        if isinstance(value, str):
            fits = self.most_bytes is None or len(value.encode()) <= self.most_bytes
            return fits and (not self.choices or value in self.choices)
        return self.low <= value <= self.high


KNOWN: Mapping[str, Known] = {
    "x-max-priority": Known(kind=int, types=_CLASSIC, low=1, high=255),
    "x-max-length": Known(kind=int, low=1),
    "x-max-length-bytes": Known(kind=int, low=1),
    "x-max-in-memory-length": Known(kind=int, types=_QUORUM),
    "x-max-in-memory-bytes": Known(kind=int, types=_QUORUM),
    "x-message-ttl": Known(kind=int, high=315_360_000_000),
    "x-overflow": Known(kind=str, choices=("drop-head", "reject-publish", "reject-publish-dlx")),
    "x-dead-letter-exchange": Known(kind=str, most_bytes=_MOST_TEXT_BYTES),
    "x-dead-letter-routing-key": Known(kind=str, most_bytes=_MOST_TEXT_BYTES),
    "x-dead-letter-strategy": Known(kind=str, types=_QUORUM, choices=("at-most-once", "at-least-once")),
    SINGLE_ACTIVE: Known(kind=bool),
    "x-queue-mode": Known(kind=str, types=_CLASSIC, choices=("default", "lazy")),
    "x-queue-version": Known(kind=int, types=_CLASSIC, low=1, high=2),
    "x-queue-leader-locator": Known(kind=str, choices=("client-local", "balanced")),
    "x-queue-master-locator": Known(kind=str, types=_CLASSIC, choices=("client-local", "min-masters", "random")),
    "x-quorum-initial-group-size": Known(kind=int, types=_QUORUM, low=1, high=1000),
    "x-quorum-target-group-size": Known(kind=int, types=_QUORUM, low=1, high=1000),
}

_STREAM_PREFIX = "x-stream-"  # of names of this and later versions
_OF_STREAMS = "only streams have it, which cannot be consumed here: leave it out"
_NEVER: Mapping[str, str] = {
    "x-queue-type": "the type is set by queue_type: leave it out",
    "x-delivery-limit": "hermes_ray sets it, so high that no message that only saw connections close is dropped: leave "
    "it out, retry.max_attempts limits the tries",
    "x-consumer-timeout": "an argument never changes, and this one would cut handlers off for ever: leave it out, the "
    "broker's consumer_timeout or a policy can be changed",
    "x-expires": "the broker would delete the queue with its messages while nothing consumes: leave it out",
    "x-max-age": _OF_STREAMS,
    "x-initial-cluster-size": _OF_STREAMS,
}

_NO_EXCHANGE = "it needs x-dead-letter-exchange beside it: set that too"
_STRAIGHT_BACK = "what the queue rejects would come straight back: set x-dead-letter-routing-key to another queue"
_NOT_HEEDED = "the broker heeds it only with x-dead-letter-exchange and x-overflow=reject-publish: set both"
_DROPS = "quorum queues take it for drop-head: write drop-head or reject-publish"
_LOSES = "a retry that comes back to a full classic queue would be lost: write drop-head or set queue_type=quorum"


def is_argument_name(name: str) -> bool:
    """Whether AMQP can carry an argument of this name, and people read it."""
    return name.isprintable() and 1 <= len(name.encode()) <= _MOST_TEXT_BYTES


def argument_value(name: str, raw: Any) -> ArgumentValue | None:
    """``raw`` as the argument ``name`` takes it, None if it cannot; text becomes a number where one is known to be.

    Environment variables are text: ``argument_value("x-max-length", "5")`` is 5, of a name nobody knows it is "5".
    """
    known = KNOWN.get(name)
    if isinstance(raw, str):
        raw = str(raw)  # what came from a secret is a kind of text
    kind = type(raw) if known is None else known.kind
    if isinstance(raw, str):
        if kind is int and re.fullmatch(INT, raw.strip()):
            raw = int(raw)
        elif kind is bool and raw in ("true", "false"):
            raw = raw == "true"
    if type(raw) is not kind or not isinstance(raw, str | int):
        return None
    if isinstance(raw, int) and not -_MOST - 1 <= raw <= _MOST:
        return None
    return raw if known is None or known.accepts(raw) else None


def never(name: str) -> str | None:
    """Why no topic may give its queue the argument ``name``, and what to do."""
    return _OF_STREAMS if name.startswith(_STREAM_PREFIX) else _NEVER.get(name)


def unfit(arguments: Mapping[str, ArgumentValue], queue_type: str, queue: str) -> tuple[str, str] | None:
    """The first of sound ``arguments`` that cannot work, and why and what to do; ``queue`` has them, of ``queue_type``.

    ``unfit({"x-max-priority": 5}, "quorum", "q")`` is ``("x-max-priority", "quorum queues have none: ...")``.
    """
    for name in arguments:
        known = KNOWN.get(name)
        if known is not None and queue_type not in known.types:
            return name, f"{queue_type} queues have none: leave it out or set queue_type={known.types[0]}"
    exchange, strategy = arguments.get("x-dead-letter-exchange"), arguments.get("x-dead-letter-strategy")
    key, overflow = arguments.get("x-dead-letter-routing-key"), arguments.get("x-overflow")
    is_once = strategy == "at-least-once"
    wrong = (
        (key is not None and exchange is None, "x-dead-letter-routing-key", _NO_EXCHANGE),
        (exchange == "" and key in (None, queue), "x-dead-letter-exchange", _STRAIGHT_BACK),
        (is_once and (exchange is None or overflow != "reject-publish"), "x-dead-letter-strategy", _NOT_HEEDED),
        (overflow == "reject-publish-dlx" and queue_type == "quorum", "x-overflow", _DROPS),
        (overflow not in (None, "drop-head") and queue_type == "classic", "x-overflow", _LOSES),
    )
    return next(((name, why) for is_wrong, name, why in wrong if is_wrong), None)


def unknown(arguments: Mapping[str, ArgumentValue]) -> dict[str, str]:
    """The names among ``arguments`` that nobody here knows, each with what to say of it."""
    said = {}
    for name in arguments:
        if name not in KNOWN and never(name) is None:
            near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.8)
            said[name] = f"is no argument known here{f', did you mean {near[0]}?' if near else ''}: it is passed on"
    return said


def schema() -> dict[str, Any]:
    """The arguments as JSON Schema, for editors."""
    kinds = {int: "integer", str: "string", bool: "boolean"}
    properties: dict[str, Any] = {}
    for name, known in KNOWN.items():
        limits = {"minimum": known.low, "maximum": known.high} if known.kind is int else {}
        properties[name] = {
            "type": kinds[known.kind],
            **limits,
            **({"enum": [*known.choices]} if known.choices else {}),
            **({"maxLength": known.most_bytes} if known.most_bytes is not None else {}),
        }
    refused = {"anyOf": [{"enum": [*_NEVER]}, {"pattern": f"^{_STREAM_PREFIX}"}]}
    return {"properties": properties, "propertyNames": {"minLength": 1, "not": refused}}
