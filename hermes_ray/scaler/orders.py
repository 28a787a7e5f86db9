"""Orders of people, on their way from the thread that takes a call to the one that ticks.

An order that was reported as failed is never carried out afterwards: one that comes too late is refused, and one that
waited for too long is taken back before it has begun.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from msgspec import Struct

from hermes_ray.errors import OperationFailed

__all__ = ["Orders", "Permit", "all_of"]

T = TypeVar("T")


class Permit(Struct, frozen=True, kw_only=True):
    """What makes an order void: it is for one ``incarnation`` of the scaler, until ``by_s`` of that one's clock.

    Ray repeats a call to an actor that was restarted meanwhile, when whoever gave the order has long given up.
    """

    incarnation: str
    by_s: float


class Orders:
    """Orders that wait to be carried out between two ticks; ``woken`` is called when one came."""

    def __init__(self, clock: Callable[[], float], woken: Callable[[], object], timeout_s: float = 10.0) -> None:
        self._clock = clock
        self._woken = woken
        self._timeout_s = timeout_s
        self._incarnation = secrets.token_hex(8)
        self._waiting: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()

    def permit(self, lasts_s: float) -> Permit:
        """For an order that is given within ``lasts_s``."""
        return Permit(incarnation=self._incarnation, by_s=self._clock() + lasts_s)

    def give(self, permit: Permit, action: Callable[[], T]) -> T:
        """Have ``action`` carried out by ``carry_out``, and wait for what it returns or raises.

        Raises ``OperationFailed`` if it will not be carried out: it came too late, or nobody took it in time.
        """
        if permit.incarnation != self._incarnation or self._clock() > permit.by_s:
            raise OperationFailed("the order came too late and was not carried out: give it again")
        done: Future[T] = Future()
        self._waiting.put((action, done))
        self._woken()
        try:
            return done.result(self._timeout_s)
        except TimeoutError:
            if not done.cancel():  # it has begun: it is going to be done
                return done.result()
            raise OperationFailed(
                f"the scaler was busy for {self._timeout_s:.0f} s: the order was not carried out, give it again"
            ) from None

    def carry_out(self) -> None:
        """Do what waits, in order."""
        for action, done in all_of(self._waiting):
            if not done.set_running_or_notify_cancel():
                continue
            try:
                done.set_result(action())
            except Exception as error:
                done.set_exception(error)


def all_of(queue: SimpleQueue[T]) -> list[T]:
    """Empty ``queue``."""
    found = []
    try:
        while True:
            found.append(queue.get_nowait())
    except Empty:
        return found
