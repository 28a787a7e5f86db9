"""What handlers return that is its own result, never ends, or is much: the event loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.outcome import Retry
from hermes_ray.worker.results import finish
from tests.support.slot_rig import Rig


def of_the_event_loop() -> Any:
    return asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("make", [Future, of_the_event_loop], ids=["of a pool", "of the event loop"])
def test_a_future_that_holds_itself_twice_is_awaited_once(make: Callable[[], Any]) -> None:
    async def handler(_message: Message) -> Any:
        future = make()
        future.set_result([future, future])
        return future

    assert Rig(handler).handle(b"a", b"b") == [None, None]


class Hydra:
    """Each that is awaited makes two more, without a pause, and those do, ``levels`` deep."""

    def __init__(self, levels: int) -> None:
        self._levels = levels

    def __await__(self) -> Generator[None, None, list[Hydra]]:
        return [Hydra(self._levels - 1), Hydra(self._levels - 1)] if self._levels > 1 else []
        yield


def test_work_without_an_end_lets_others_by() -> None:
    async def others_run() -> None:
        endless = asyncio.create_task(finish([Hydra(100)]))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not endless.done()
        endless.cancel()
        await asyncio.wait([endless])

    asyncio.run(others_run())


@pytest.mark.parametrize(("page_count", "is_done"), [(100, True), (101, False), (150, False)])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_work_that_returns_more_too_many_times_over_is_refused_and_never_dropped(
    is_async: bool, page_count: int, is_done: bool
) -> None:
    pages: list[int] = []

    async def page(number: int) -> Any:
        pages.append(number)
        return page(number + 1) if number < page_count else None

    async def handler(_message: Message) -> Any:
        return page(1)

    (outcome,) = Rig(handler if is_async else lambda _message: page(1)).handle(b"a")
    assert pages == list(range(1, 101))
    assert (outcome is None) == is_done
    if not is_done:
        assert isinstance(outcome, Retry)
        assert outcome.error.endswith("returns more work, 100 times over: await it in the handler")


def test_much_that_is_done_already_lets_others_by() -> None:
    async def rounds_meanwhile() -> int:
        work, count = asyncio.create_task(finish(_done(5_000))), 0
        while not work.done():
            await asyncio.sleep(0)
            count += 1
        return count

    assert asyncio.run(rounds_meanwhile()) > 10


def _done(count: int) -> list[Any]:
    futures = [asyncio.get_running_loop().create_future() for _ in range(count)]
    for future in futures:
        future.set_result(None)
    return list(futures)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_job_of_a_pool_that_raises_stop_iteration_fails_its_message(is_async: bool) -> None:
    with ThreadPool(1) as pool:

        async def handler(_message: Message) -> Any:
            return pool.apply_async(next, (iter([]),))

        def sync_handler(_message: Message) -> Any:
            return pool.apply_async(next, (iter([]),))

        (outcome,) = Rig(handler if is_async else sync_handler).handle(b"a")
    assert isinstance(outcome, Retry)
    assert "StopIteration" in outcome.error
