"""A handler beyond its time is stopped or counted out; its message is settled once, and no other is hurt."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from hermes_ray import Message, PermanentError
from hermes_ray.outcome import Retry
from hermes_ray.worker import time_limits
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.time_limits import Hung, TimeLimits, hung_after_s
from tests.support.ledger import until
from tests.support.patience import PATIENCE
from tests.support.slot_rig import Function, Rig

FAR_S = 1e9


class Watched(Rig):
    """Slots under time limits; ``replaced`` counts the handlers that could not be stopped."""

    def __init__(self, function: Function, timeout_s: float | None = 0.5, **settings: Any) -> None:
        super().__init__(function, **settings)
        self.replaced: list[None] = []
        self.last_overdue = 0
        self.limits = TimeLimits(
            self.slots,
            Handler(call=function, is_async=False, close=lambda: None),
            timeout_s=timeout_s,
            is_overdue=lambda delivery, _running_s: delivery.tag <= self.last_overdue,
            settle=self._settle,
            on_counted_out=lambda: self.replaced.append(None),
        )
        self.limits.start()

    def outcome(self, body: bytes) -> Retry:
        (outcome,) = self.handle(body)
        assert isinstance(outcome, Retry)
        return outcome


async def waits(message: Message) -> None:
    await asyncio.sleep(FAR_S if message.body == b"slow" else 0)


async def turns_it_into_another(message: Message) -> None:
    try:
        await waits(message)
    except asyncio.CancelledError:
        raise PermanentError("no such player") from None


async def returns_all_the_same(message: Message) -> None:
    try:
        await waits(message)
    except asyncio.CancelledError:
        return


async def waits_within_a_timeout(message: Message) -> None:
    async with asyncio.timeout(FAR_S):
        await waits(message)


async def waits_for_a_group(message: Message) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(waits(message))


def as_it_is(handler: Function) -> Function:
    return handler


def wrapped(handler: Function) -> Function:
    """As decorators do that know nothing of async."""

    def call(message: Message) -> Any:
        return handler(message)

    return call


Wrap = Callable[[Function], Function]
WRAPS = pytest.mark.parametrize("wrap", [as_it_is, wrapped])
ENDED = [waits, turns_it_into_another, returns_all_the_same, waits_within_a_timeout, waits_for_a_group]


@WRAPS
@pytest.mark.parametrize("handler", ENDED)
def test_an_async_handler_is_cancelled_and_its_slot_goes_on(handler: Function, wrap: Wrap) -> None:
    made = Watched(wrap(handler))
    outcome = made.outcome(b"slow")
    assert outcome.reason == "timeout"
    assert outcome.error == "timeout: the handler ran for longer than worker.timeout_s (0.5 s)"
    assert made.handle(b"a", b"b") == [None, None]
    assert made.slots.slots[0].finished == 3
    assert not made.replaced


@WRAPS
def test_where_a_cancelled_handler_was_is_told(wrap: Wrap) -> None:
    made = Watched(wrap(waits), timeout_s=1.0)  # for it to be there by then on a busy machine too
    assert "asyncio.sleep(FAR_S" in made.outcome(b"slow").traceback


def test_a_sync_handler_is_counted_out_its_place_is_told_and_what_it_returns_settles_nothing(
    gate: threading.Event,
) -> None:
    returned = threading.Event()

    def handler(message: Message) -> None:
        if message.body == b"slow":
            gate.wait(60)  # here it hangs
            returned.set()

    made = Watched(handler, concurrency=2)
    outcome = made.outcome(b"slow")
    assert outcome.reason == "timeout"
    assert "gate.wait(60)  # here it hangs" in outcome.traceback
    until(lambda: len(made.replaced) == 1, "its worker is to be replaced")
    assert made.handle(b"a", b"b") == [None, None], "the other slot goes on"
    figures = made.slots.figures()
    assert (figures.running_count, figures.runs.finished) == (0, 3), "nobody waits for it"
    assert made.limits.hung(time.monotonic()).message_id == "m-1"
    gate.set()
    assert returned.wait(PATIENCE * 20)
    until(lambda: made.limits.hung(time.monotonic()).count == 0, "it does not hang any more")
    assert made.slots.figures().runs.finished == 3, "and is not counted twice"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers that were cancelled have to end at once."""
    monkeypatch.setattr(time_limits, "CANCEL_S", 0.1)


@WRAPS
def test_an_async_handler_that_swallows_its_cancellation_is_counted_out(soon: None, wrap: Wrap) -> None:
    is_over = threading.Event()

    async def handler(message: Message) -> None:
        while message.body == b"slow" and not is_over.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    made = Watched(wrap(handler), concurrency=2)
    assert made.outcome(b"slow").reason == "timeout"
    until(lambda: len(made.replaced) == 1, "its worker is to be replaced")
    assert made.handle(b"a") == [None]
    is_over.set()


@WRAPS
def test_async_handlers_that_never_leave_the_event_loop_are_counted_out_with_their_place(
    soon: None, gate: threading.Event, wrap: Wrap
) -> None:
    async def handler(message: Message) -> None:
        gate.wait(60)  # here it hangs

    outcome = Watched(wrap(handler), concurrency=2).outcome(b"slow")
    assert outcome.reason == "timeout"
    assert "# here it hangs" in outcome.traceback


@pytest.mark.parametrize("is_async", [True, False])
def test_what_the_broker_soon_takes_back_is_settled_whatever_the_configuration_says(
    is_async: bool, gate: threading.Event
) -> None:
    def block(_message: Message) -> None:
        gate.wait(60)

    made = Watched(waits if is_async else block, timeout_s=None, concurrency=3)
    tags = made.put(b"slow", b"slow", b"slow")
    until(lambda: made.slots.figures().running_count == 3, "all run")
    made.last_overdue = tags[1]
    until(lambda: len(made.outcomes) == 2, "those are settled")
    assert sorted(made.outcomes) == [tags[0], tags[1]]
    outcome = made.outcomes[tags[0]]
    assert isinstance(outcome, Retry)
    assert outcome.reason == "timeout"
    assert "broker.ack_timeout_s" in outcome.error


def test_many_messages_around_their_time_limit_are_settled_once_each(gate: threading.Event) -> None:
    """Handlers that return just when they are counted out or cancelled: the rig refuses a second settlement."""

    def sync(message: Message) -> None:
        if message.body == b"hangs":
            gate.wait(60)
        else:
            time.sleep(0.02 + 0.0002 * int(message.body))

    async def awaits(message: Message) -> None:
        await asyncio.sleep(FAR_S if message.body == b"hangs" else 0.02 + 0.0002 * int(message.body))

    for handler, slots in ((sync, 200), (awaits, 20)):
        made = Watched(handler, timeout_s=0.03, concurrency=slots)
        *outcomes, hung = made.handle(*[b"%d" % (n % 100) for n in range(199)], b"hangs")
        assert {type(outcome) for outcome in outcomes} <= {Retry, type(None)}
        assert isinstance(hung, Retry)
        until(lambda made=made: made.slots.figures().runs.finished == 200, "each is counted once")  # type: ignore[misc]


def test_what_is_passed_on_while_another_keeps_the_event_loop_is_not_charged_for_it() -> None:
    has_begun = threading.Event()

    def keep_the_loop() -> None:
        has_begun.set()
        time.sleep(1.5)

    async def work(message: Message) -> None:
        if message.body == b"blocks":
            keep_the_loop()

    def passes_on(message: Message) -> Any:
        return work(message)

    made = Watched(passes_on, concurrency=4, timeout_s=0.5)
    made.put(b"blocks")
    assert has_begun.wait(PATIENCE * 20)
    assert made.handle(b"a", b"b", b"c") == [None] * 3


@pytest.mark.parametrize(
    ("mean_s", "finished", "expected_s"),
    [(0.1, 1, 60.0), (0.1, 0, math.inf), (10.0, 5, 200.0)],
)
def test_a_handler_hangs_where_it_takes_far_longer_than_others_meanwhile(
    mean_s: float, finished: int, expected_s: float
) -> None:
    assert hung_after_s(mean_s, finished) == expected_s


def test_without_a_limit_a_handler_that_hangs_while_others_work_is_told(
    monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    monkeypatch.setattr(time_limits, "HUNG_AFTER_S", 0.2)

    def handler(message: Message) -> None:
        if message.body == b"slow":
            gate.wait(60)

    made = Watched(handler, timeout_s=None, concurrency=2)
    made.put(b"slow")

    def hung() -> Hung:
        return made.limits.hung(time.monotonic())

    until(lambda: made.slots.figures().longest_running_s > 1.2, "it has been looked at")
    assert hung().count == 0, "what all wait for may hang"
    made.handle(b"a")
    until(lambda: hung().count == 1, "it hangs")
    assert hung().message_id == "m-1"
    assert hung().seconds > 1.0
