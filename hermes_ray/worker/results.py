"""What handlers return, for the kinds that mean work which has not been done yet."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import Future
from contextlib import AsyncContextDecorator, ContextDecorator
from types import AsyncGeneratorType, GeneratorType
from typing import Any

__all__ = ["is_unfinished", "result_of"]

_NEVER_RUN = (GeneratorType, AsyncGeneratorType, ContextDecorator, AsyncContextDecorator, map, filter, zip)
_MANY = (list, tuple, set)
_MOST_LOOKED_AT = 1_000  # before a handler goes on; more are looked at where they are awaited
_MOST_STEPS = 100  # of what an awaitable returns, which may be another


def is_unfinished(result: Any) -> bool:
    """Whether ``result``, a handler's, means work that may not have been done yet: then ``result_of`` it is to run."""
    if isinstance(result, _MANY):
        return len(result) > _MOST_LOOKED_AT or any(map(_is_one_unfinished, result))
    return _is_one_unfinished(result)


def _is_one_unfinished(result: Any) -> bool:
    return isinstance(result, (*_NEVER_RUN, Future)) or inspect.isawaitable(result) or _is_of_process_pool(result)


def _is_of_process_pool(result: Any) -> bool:
    return type(result).__module__ == "multiprocessing.pool" and hasattr(result, "wait")


async def result_of(result: Any, steps: int = _MOST_STEPS) -> None:
    """Return once what a handler has returned is done: awaitables of any kind, futures of a pool, and what they return.

    Raises what they raise, and ``TypeError`` for a generator or a context manager: nothing of it has run. Awaitables
    may return others, and lists of them, ``steps`` deep.
    """
    for step in range(steps):
        if isinstance(result, _MANY):
            for each in result:
                if _is_one_unfinished(each):
                    await result_of(each, steps - step - 1)
            return
        if not _is_one_unfinished(result):
            return
        former = result
        if isinstance(result, _NEVER_RUN):
            kind = type(result).__name__
            raise TypeError(f"the handler returned a {kind}, of which nothing has run: return its result")
        if isinstance(result, Future):
            result = await _of_pool(result)
        else:
            result = await (asyncio.to_thread(result.get) if _is_of_process_pool(result) else result)
        if result is former:  # a pool, say, that is itself what it is awaited for
            return


async def _of_pool(future: Future[Any]) -> Any:
    """Its result; a StopIteration too, which no future of asyncio can hold."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
    try:
        await done.wait()
    except asyncio.CancelledError:
        future.cancel()
        raise
    return future.result()
