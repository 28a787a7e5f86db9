"""What a consumer is told of its broker."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["BrokerSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSpec:
    """The first of ``urls`` that answers is the broker. They have passwords: what shows a spec leaves them out.

    ``decoder``: ``direct`` cuts frames without pika's objects, ``pika`` with them. ``ack_timeout_s``: how long the
    broker waits for the settlement of a delivery; None: for ever.
    """

    urls: tuple[str, ...] = field(repr=False)
    heartbeat_s: int = 60
    decoder: str = "direct"
    ack_timeout_s: float | None = 1800.0
