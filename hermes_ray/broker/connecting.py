"""What pika raises while it connects, as where no file or thread is to be had, ends that attempt, not the I/O loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pika.adapters.select_connection import IOLoop

__all__ = ["Connecting"]


class Connecting:
    """``loop`` for one attempt to connect: ``on_error`` is told what a callback of it raises until it is ``over``.

    Nothing more of an attempt that has failed so is called.
    """

    def __init__(self, loop: IOLoop, on_error: Callable[[Exception], None]) -> None:
        self._loop, self._on_error = loop, on_error
        self._watched: set[int] = set()
        self._has_failed = False
        self.is_over = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> object:
        """As the loop's, and so are the others."""
        return self._loop.call_later(delay_s, self._guarded(callback))

    def add_callback(self, callback: Callable[[], object]) -> None:
        self._loop.add_callback(self._guarded(callback))

    def add_callback_threadsafe(self, callback: Callable[[], object]) -> None:
        self._loop.add_callback_threadsafe(self._guarded(callback))

    def add_handler(self, fd: int, handler: Callable[[int, int], object], events: int) -> None:
        self._loop.add_handler(fd, self._guarded(handler), events)
        self._watched.add(fd)

    def remove_handler(self, fd: int) -> None:
        self._watched.discard(fd)
        self._loop.remove_handler(fd)

    def _guarded(self, callback: Callable[..., object]) -> Callable[..., object]:
        if self.is_over:
            return callback

        def call(*arguments: object) -> None:
            if self._has_failed:
                return
            try:
                callback(*arguments)
            except Exception as error:
                if self.is_over:
                    raise
                self._has_failed = True
                for fd in list(self._watched):
                    self.remove_handler(fd)
                self._on_error(error)

        return call
