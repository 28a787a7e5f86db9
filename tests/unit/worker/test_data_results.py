"""Data that runs code of the user's own when it is looked at: their work is done all the same."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest

from hermes_ray import Message
from tests.support.slot_rig import Rig


class LocalProxy:
    """Stands for something that is there during a request only."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("working outside of a request")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("working outside of a request")


class Detached(dict[str, int]):
    """Rows of a session that is closed."""

    def values(self) -> Any:
        raise RuntimeError("this is not bound to a session")


class Work:
    """Gone before it is looked at."""


class Lazy(list[int]):
    """Loads its rows when they are asked for."""

    def __iter__(self) -> Any:
        raise RuntimeError("this is not bound to a session")


class Compared(type):
    """Its classes have no hash."""

    def __eq__(cls, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


class Row(metaclass=Compared):
    """One of them."""


def of_nothing() -> Any:
    proxy: Any = weakref.proxy(Work())
    return proxy


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("made", [LocalProxy, of_nothing, lambda: Detached(a=1), lambda: Lazy([1]), Row])
@pytest.mark.parametrize("held", [False, True], ids=["itself", "in a list"])
def test_what_its_look_raises_fails_no_message(kind: str, made: Any, held: bool) -> None:
    def handler(_message: Message) -> Any:
        return [made()] if held else made()

    async def handler_async(message: Message) -> Any:
        await asyncio.sleep(0)
        return handler(message)

    assert Rig(handler if kind == "sync" else handler_async).handle(b"x") == [None]


@pytest.mark.parametrize("collection", [Detached, Lazy])
def test_work_in_such_collections_is_done(collection: Any) -> None:
    ran = asyncio.Event()

    async def work() -> None:
        ran.set()

    async def handler(_message: Message) -> Any:
        return collection({"a": work()} if collection is Detached else [work()])

    assert Rig(handler).handle(b"x") == [None]
    assert ran.is_set()
