"""What a consumer needs of who owns it: where deliveries go, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hermes_ray.broker.delivery import Delivery

__all__ = ["Buffer", "ConsumerEvents"]


class Buffer(Protocol):
    """Where deliveries wait for a handler."""

    def put(self, batch: list[Delivery]) -> None:
        """These came, in this order."""

    def take_back(self, up_to: tuple[int, int] | None = None) -> list[Delivery]:
        """Those that no handler has started on, all or up to an epoch and tag, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerEvents:
    """What is called in the I/O thread: ``changed`` when consuming starts or is lost, ``crashed`` when it fails itself.

    ``forgotten``: where only another connection would bring deliveries, and this one holds some.
    """

    crashed: Callable[[], None]
    changed: Callable[[], None] = lambda: None
    forgotten: Callable[[], None] = lambda: None
