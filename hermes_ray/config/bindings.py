"""What a topic says about the exchanges its queue is bound to."""
# ruff: noqa: RUF009 - the calls in the class body return a new dataclasses.field each

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from hermes_ray.config.knobs import Knob, Takes, choice, declare
from hermes_ray.config.queue_arguments import ArgumentValue
from hermes_ray.config.secrets import mask_url

__all__ = ["X_MATCH", "BindingConfig"]

_MOST_BYTES = 255
_BUILT_IN = ("amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.topic")
X_MATCH = ("all", "any", "all-with-x", "any-with-x")


def _is_exchange(name: str) -> bool:
    if name.startswith("amq.") and name not in _BUILT_IN and not name.startswith("amq.rabbitmq."):
        return False  # the broker lets nobody create it
    return name.isprintable() and 1 <= len(name.encode()) <= _MOST_BYTES


def _is_routing_key(key: str) -> bool:
    return (not key or key.isprintable()) and len(key.encode()) <= _MOST_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingConfig:
    """One binding of a topic's queue; with ``exchange_type`` the exchange is declared, durable, else it must exist."""

    exchange: str = declare(
        dataclasses.MISSING,
        Knob(
            meaning="The exchange; the default one needs no binding.",
            allowed=f"an exchange's name of 1 to {_MOST_BYTES} bytes, with amq. only one of the broker's own",
            accepts=_is_exchange,
            schema={
                "minLength": 1,
                "maxLength": _MOST_BYTES,
                "pattern": rf"^(?!amq\.(?!rabbitmq\.)(?!(?:{'|'.join(name[4:] for name in _BUILT_IN)})$))",
            },
            takes=Takes.TOPOLOGY,
        ),
    )
    routing_key: str = declare(
        "",
        Knob(
            meaning="The routing key, of a topic exchange a pattern.",
            allowed=f"text of at most {_MOST_BYTES} bytes without control characters",
            accepts=_is_routing_key,
            schema={"maxLength": _MOST_BYTES},
            takes=Takes.TOPOLOGY,
        ),
    )
    exchange_type: str | None = choice(
        None,
        ("topic", "direct", "fanout", "headers"),
        "Declares the exchange; null: it must exist.",
        takes=Takes.TOPOLOGY,
    )
    arguments: dict[str, ArgumentValue] = declare(
        dict,
        Knob(
            meaning="Arguments, such as those that a headers exchange compares.",
            schema={"properties": {"x-match": {"type": "string", "enum": [*X_MATCH]}}},
            takes=Takes.TOPOLOGY,
        ),
    )

    def __str__(self) -> str:
        kind = f" ({self.exchange_type})" if self.exchange_type else ""
        arguments = f" {self.arguments}" if self.arguments else ""
        return mask_url(f"{self.exchange}{kind} {self.routing_key!r}{arguments}")
