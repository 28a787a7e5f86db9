"""What handlers return, for the kinds that mean work which has not been done yet.

Such work is looked for in collections too, ``_MOST_LEVELS`` deep and among ``_MOST_VALUES`` of their values: what lies
deeper or beyond is taken for data. An iterator of an unknown kind, async or not, is too: a cursor of a database has
done its work, a stream of a client has begun, and a mock is like anything. The look runs nothing of the user's own, as
far as Python lets it: data such as a proxy, or a list that loads its rows, may raise whatever is done with it.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AsyncContextDecorator, ContextDecorator
from functools import lru_cache, partial
from itertools import chain, islice
from types import AsyncGeneratorType, BuiltinFunctionType, CoroutineType, FunctionType, GeneratorType, MethodType
from typing import Any

from hermes_ray.worker.forked import FORKED
from hermes_ray.worker.slot_task import HandlerTask, asked_by
from hermes_ray.worker.turns import TURN_S

__all__ = ["finish", "work_in"]

_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType, partial, type(lru_cache(abs)))
_NEVER_RUN = (GeneratorType, AsyncGeneratorType, ContextDecorator, AsyncContextDecorator, map, filter, zip, enumerate)
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_MANY = (list, tuple, set, frozenset, dict, deque, *_VIEWS)
# By identity here and below: a type may have a way of its own to be compared, and no hash.
_PLAIN = frozenset(map(id, (type(None), bool, int, float, complex, str, bytes, bytearray)))  # most of what there is
_MANY_IDS = frozenset(map(id, _MANY))
_MOST_LEVELS, _MOST_VALUES = 10, 100_000  # some 10 ms
_MOST_STEPS = 100  # of what an awaitable returns, which may be another
_PAUSE_EVERY = 100  # works: those that are done already would keep the event loop
_TOO_DEEP = f"what the handler returned returns more work, {_MOST_STEPS} times over: await it in the handler"


def work_in(result: Any) -> Sequence[Any]:
    """The work that ``result``, a handler's, is or holds and that may not have been done yet: ``finish`` is to run.

    In its order level by level, as it is now: a collection may lose what is done, by callbacks of the user's own.
    """
    return () if id(type(result)) in _PLAIN else _found_in(result)


async def finish(works: Sequence[Any]) -> None:
    """Return once ``works``, which a handler has returned, are done: awaitables, futures of a pool, what they return.

    Raises what they raise, and ``TypeError`` for a function, a generator or a context manager: nothing of it has run.
    Awaitables may return others, and collections of them, ``_MOST_STEPS`` deep, beyond which they are refused too; each
    is awaited once, as a pool may be itself what it is awaited for, and a future hold itself. Where it raises anything
    it gives up the others that are of this message: they would go on beside the message's next attempt.
    """
    loop, paused_s = asyncio.get_running_loop(), time.monotonic()
    left = [(work, 1) for work in reversed(works)]
    seen: dict[int, Any] = {}  # by identity, and kept, so that no other has it
    try:
        while left:
            work, step = left.pop()
            if id(work) in seen:
                continue
            seen[id(work)] = work
            result = await _done(work)
            if FORKED:
                return  # the rest is the parent's to do
            more = [other for other in work_in(result) if id(other) not in seen]
            left.extend((other, step + 1) for other in reversed(more))
            if more and step == _MOST_STEPS:
                raise TypeError(_TOO_DEEP)
            if len(seen) % _PAUSE_EVERY == 0 or time.monotonic() - paused_s > TURN_S:
                await asyncio.sleep(0)
                paused_s = time.monotonic()
    except BaseException:
        for work, _ in left:
            _give_up(work, loop)
        raise


def _found_in(result: Any) -> list[Any]:
    found: list[Any] = []
    many: list[Any] = []
    level, room = [result], _MOST_VALUES
    where: dict[int, list[Any] | None] = dict.fromkeys(_PLAIN)  # a value of this type belongs: None for data
    kinds = []  # kept, so that no other type has the identity of one of them
    for _ in range(_MOST_LEVELS):
        for value in level:
            kind = type(value)
            try:
                belongs = where[id(kind)]
            except KeyError:
                belongs = many if issubclass(kind, _MANY) else found if _is_work(value) else None
                where[id(kind)] = belongs
                kinds.append(kind)
            if belongs is not None:
                belongs.append(value)
        if not many:
            break
        # In one call, which lets no other thread in: a collection of the user's own may be shared.
        level = list(islice(chain.from_iterable(map(_values_of, many)), room))
        room -= len(level)
        many.clear()
    return found


def _values_of(many: Any) -> Any:
    kind: Any = type(many)
    if id(kind) not in _MANY_IDS:
        kind = next(each for each in _MANY if issubclass(kind, each))
    return chain(dict.__iter__(many), dict.values(many)) if kind is dict else kind.__iter__(many)


def _is_work(value: Any) -> bool:
    try:
        is_begun = isinstance(value, Future) or inspect.isawaitable(value) or _is_of_process_pool(value)
        return is_begun or _has_not_run(value)
    except Exception:  # of a proxy that stands for nothing just now, as outside of a request
        return False


def _has_not_run(value: Any) -> bool:
    kind = type(value)
    if isinstance(value, (*_NEVER_RUN, *_FUNCTIONS)) or kind.__module__ == "itertools":
        return True
    return kind.__module__ == "asyncio.tasks" and hasattr(kind, "__anext__")  # as_completed gives that from 3.13 on


def _is_of_process_pool(value: Any) -> bool:
    return type(value).__module__ == "multiprocessing.pool" and (hasattr(value, "wait") or hasattr(value, "next"))


def _module_of(work: Any) -> str:
    """Where it is made: what an executor and asyncio make of work that has begun may be generators of theirs."""
    is_generator = isinstance(work, GeneratorType) and work.gi_frame is not None
    return str(work.gi_frame.f_globals.get("__name__") if is_generator else type(work).__module__)


async def _done(work: Any) -> Any:
    """What it is awaited for. Whoever is told to stop does so alone: others may wait for the same future."""
    if isinstance(work, GeneratorType) and work.gi_frame is None:
        return None  # it has run, to its end
    if isinstance(work, GeneratorType) and _module_of(work).startswith("concurrent.futures."):
        return await asyncio.to_thread(list, work)
    if _has_not_run(work):
        raise TypeError(_refusal(work))
    if isinstance(work, Future):
        return await _of_pool(work)
    if _is_of_process_pool(work):
        if not hasattr(work, "wait"):
            return await asyncio.to_thread(list, work)
        await asyncio.to_thread(work.wait)
        return work.get()  # here: no thread can hand over a StopIteration
    return await (asyncio.shield(work) if _may_be_shared(work) else work)


def _refusal(work: Any) -> str:
    if _module_of(work) == "asyncio.tasks":
        return "the handler returned what asyncio.as_completed gives, which nobody would await: return its tasks"
    told = f"the handler returned a {type(work).__name__}, of which nothing has run"
    if not isinstance(work, _FUNCTIONS):
        return f"{told}: return its result"
    name = getattr(work, "__qualname__", type(work).__name__)
    return f"{told}: {name}; call it, or give the handler's decorator its parentheses, @retrying() for @retrying"


def _may_be_shared(work: Any) -> bool:
    """Whether it is a task that another message has started, or a future of nobody's: both go on without this one."""
    if isinstance(work, HandlerTask):
        return work.message is not asked_by.get(None)
    return type(work) is asyncio.Future


def _give_up(work: Any, loop: asyncio.AbstractEventLoop) -> None:
    if type(work) is CoroutineType:
        if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
            work.close()
    elif isinstance(work, asyncio.Future) and _is_own(work, loop) and not loop.is_closed():
        work.cancel()


def _is_own(work: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> bool:
    return work.get_loop() is loop and work is not asyncio.current_task(loop) and not _may_be_shared(work)


async def _of_pool(future: Future[Any]) -> Any:
    """Its result; a StopIteration too, which no future of asyncio can hold."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
    await done.wait()
    return future.result()
