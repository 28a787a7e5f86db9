"""Slots around a function of the test's own, in threads or in the event loop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.broker.delivery import Delivery
from hermes_ray.message import Check
from hermes_ray.outcome import Outcome
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.loop_slots import LoopSlots
from hermes_ray.worker.standstill import Standstill
from hermes_ray.worker.thread_slots import ThreadSlots
from tests.support.deliveries import delivery
from tests.support.ledger import until

Function = Callable[[Message], Any]
AsyncFunction = Callable[[Message], Coroutine[Any, Any, Any]]


def no_check(_topic: str | None, _headers: Mapping[str, Any]) -> bytes:
    return b""


class Rig:
    """Slots around a function of the test's own, and every outcome by delivery tag."""

    def __init__(
        self,
        function: Function,
        concurrency: int = 1,
        check: Check = no_check,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        is_async = asyncio.iscoroutinefunction(function)
        handler = Handler(call=function, is_async=is_async, close=lambda: None, options=options or {})
        kind = LoopSlots if is_async else ThreadSlots
        self.standstill = Standstill()
        self.slots: LoopSlots | ThreadSlots = kind(handler, "t", concurrency, check, self.standstill)
        self.outcomes: dict[int, Outcome] = {}
        self.order: list[int] = []
        self._next = 1
        self.slots.start(self._settle)

    def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        assert delivery.tag not in self.outcomes, "a delivery is settled once"
        self.outcomes[delivery.tag] = outcome
        self.order.append(delivery.tag)

    def handle(self, *bodies: bytes, headers: dict[str, Any] | None = None) -> list[Outcome]:
        """Hand these over as one batch and wait for what became of each."""
        tags = self.put(*bodies, headers=headers)
        until(lambda: all(tag in self.outcomes for tag in tags), "all were settled")
        return [self.outcomes[tag] for tag in tags]

    def put(self, *bodies: bytes, headers: dict[str, Any] | None = None) -> range:
        first = self._next
        self._next += len(bodies)
        self.slots.put(
            [delivery(body, tag=first + n, headers=headers, message_id="m-1") for n, body in enumerate(bodies)]
        )
        return range(first, self._next)


def as_async(function: Function, suspend: bool) -> AsyncFunction:
    async def handler(message: Message) -> Any:
        if suspend:
            await asyncio.sleep(0)
        return function(message)

    return handler


KINDS = pytest.mark.parametrize("kind", ["thread", "loop", "loop that suspends"])


def rig(
    kind: str,
    function: Function,
    concurrency: int = 1,
    check: Check = no_check,
    options: Mapping[str, Any] | None = None,
) -> Rig:
    chosen = function if kind == "thread" else as_async(function, suspend=kind == "loop that suspends")
    return Rig(chosen, concurrency, check, options)


def is_kept(body: bytes) -> bool:
    """Whether a message with ``body`` is still there."""
    gc.collect()
    return any(issubclass(type(each), Message) and each.body == body for each in gc.get_objects())
