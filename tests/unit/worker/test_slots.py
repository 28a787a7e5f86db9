from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from hermes_ray import Message, PermanentError
from hermes_ray.broker.outgoing import ATTEMPT, DUE_MS, PUBLISHED_MS
from hermes_ray.core.histogram import DURATION_BUCKETS_S, quantile
from hermes_ray.outcome import DeadLetter, Done, Retry
from tests.support.deliveries import delivery
from tests.support.ledger import until
from tests.support.slot_rig import KINDS, Rig, rig

note: contextvars.ContextVar[str] = contextvars.ContextVar("note", default="clean")


@KINDS
def test_returning_settles_and_the_value_is_ignored(kind: str) -> None:
    assert rig(kind, lambda message: message.body).handle(b"a", b"b") == [None, None]


@KINDS
def test_an_exception_is_a_retry_with_its_text_and_the_slot_goes_on(kind: str) -> None:
    def fails(message: Message) -> None:
        if message.body == b"bad":
            raise ValueError("no such player")

    bad, good = rig(kind, fails).handle(b"bad", b"good")
    assert isinstance(bad, Retry)
    assert bad.error == "ValueError: no such player"
    assert 'raise ValueError("no such player")' in bad.traceback
    assert good is None


ODD_PLACE: Any = ("f", "1", "a", "text")  # a number was due


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


@KINDS
@pytest.mark.parametrize("error", [SyntaxError("x", ODD_PLACE), Exits()], ids=["no traceback", "no words"])
def test_an_error_that_cannot_be_told_takes_no_slot_away(kind: str, error: Exception) -> None:
    def fails(message: Message) -> None:
        if message.body == b"bad":
            raise error

    made = rig(kind, fails)
    bad, good = made.handle(b"bad", b"good")
    assert isinstance(bad, Retry)
    assert bad.error.startswith(type(error).__name__)
    assert good is None


@KINDS
@pytest.mark.parametrize("secret", ["canary", "canary\udce9", "can'ary\""])
def test_what_a_handler_raises_is_told_without_the_secrets_of_its_options(kind: str, secret: str) -> None:
    def fails(message: Message) -> None:
        raise ConnectionError(f"no database at db://app:{secret}@h with {secret} " + "." * 10_000)

    options = {"dsn": f"db://app:{secret}@h", "password": secret}
    (bad,) = rig(kind, fails, options=options).handle(b"x")
    assert isinstance(bad, Retry)
    assert bad.error.startswith("ConnectionError: no database at db://app:***@h with *** ...")
    assert "canary" not in bad.error + bad.traceback
    assert "can'ary" not in bad.error + bad.traceback


@KINDS
@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
def test_even_what_ends_a_program_only_fails_its_message(kind: str, error: BaseException) -> None:
    def fails(message: Message) -> None:
        if message.body == b"bad":
            raise error

    bad, good = rig(kind, fails).handle(b"bad", b"good")
    assert isinstance(bad, Retry)
    assert bad.error.startswith(type(error).__name__)
    assert good is None


@KINDS
def test_an_error_that_cannot_say_what_it_is_does_not_cost_the_slot(kind: str) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def fails(message: Message) -> None:
        if message.body == b"bad":
            raise Mute

    bad, good = rig(kind, fails).handle(b"bad", b"good")
    assert isinstance(bad, Retry)
    assert bad.error == "Mute"
    assert good is None


@KINDS
def test_a_permanent_error_is_a_dead_letter_at_once_and_so_is_a_body_that_does_not_parse(kind: str) -> None:
    def parses(message: Message) -> None:
        if message.json() != 1:
            raise PermanentError("only 1 will do")

    broken, other, good = rig(kind, parses).handle(b"{", b"2", b"1")
    assert isinstance(broken, DeadLetter)
    assert (broken.reason, broken.error.partition(" is not")[0]) == ("permanent", "PermanentError: the body")
    assert isinstance(other, DeadLetter)
    assert other.error == "PermanentError: only 1 will do"
    assert good is None


@KINDS
def test_publishes_are_handed_over_with_a_return_and_dropped_with_an_exception(kind: str) -> None:
    def publishes(message: Message) -> None:
        message.publish("a", message.body)
        message.publish("b", b"2", {"k": 1})
        if message.body == b"bad":
            raise ValueError

    made = rig(kind, publishes)
    good, bad, again = made.handle(b"good", b"bad", b"good")
    assert isinstance(good, Done)
    assert [(p.topic, p.body) for p in good.publishes] == [("a", b"good"), ("b", b"2")]
    assert isinstance(bad, Retry)
    assert isinstance(again, Done)
    assert [p.id for p in again.publishes] == [p.id for p in good.publishes], "a redelivery publishes the same ids"


@KINDS
def test_a_publish_that_the_check_refuses_fails_the_message(kind: str) -> None:
    def check(topic: str | None, headers: Mapping[str, Any]) -> bytes:
        raise ValueError(f"no topic {topic}, {headers}")

    (outcome,) = rig(kind, lambda m: m.publish("x", b"", {"k": 1}), check=check).handle(b"")
    assert isinstance(outcome, Retry)
    assert outcome.error == "ValueError: no topic x, {'k': 1}"


@KINDS
def test_a_handler_sees_everything_about_its_message(kind: str) -> None:
    seen: list[Any] = []

    def look(message: Message) -> None:
        seen.append((message.id, message.topic, message.body, message.attempt, message.published_at_s))
        seen.append((dict(message.headers), repr(message)))

    made = rig(kind, look)
    headers = {PUBLISHED_MS: 1_700_000_000_250, ATTEMPT: 3, "k": "v"}
    made.handle(b"x", headers=headers)
    made.handle(b"x")
    assert seen[0] == ("m-1", "t", b"x", 3, 1_700_000_000.25)
    assert seen[1] == (headers, "Message(topic='t', id='m-1', attempt=3, 1 bytes)")
    assert seen[2] == ("m-1", "t", b"x", 1, None)
    assert seen[3][0] == {}


def test_without_our_stamp_the_amqp_timestamp_says_when_it_was_published() -> None:
    seen: list[float | None] = []
    made = Rig(lambda message: seen.append(message.published_at_s))
    made.slots.put([delivery(timestamp=1_700_000_000)])
    until(lambda: made.outcomes, "it was handled")
    assert seen == [1_700_000_000.0]


@KINDS
def test_context_variables_of_one_message_are_not_seen_by_the_next(kind: str) -> None:
    seen: list[str] = []

    def look(message: Message) -> None:
        seen.append(note.get())
        note.set("left behind")

    rig(kind, look).handle(*[b""] * 3)
    assert seen == ["clean"] * 3


def test_four_sync_handlers_run_at_once() -> None:
    together = threading.Barrier(4)
    assert Rig(lambda _message: together.wait(20), concurrency=4).handle(*[b""] * 4) == [None] * 4


@KINDS
def test_no_more_than_concurrency_run_at_once(kind: str) -> None:
    running, most, lock = 0, 0, threading.Lock()

    async def slow(_message: Message) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1

    def slow_thread(_message: Message) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1

    Rig(slow_thread if kind == "thread" else slow, concurrency=3).handle(*[b""] * 30)
    assert most <= 3


@KINDS
def test_what_runs_is_counted_as_busy_up_to_now(kind: str) -> None:
    release = threading.Event()

    async def waits(_message: Message) -> None:
        await asyncio.to_thread(release.wait, 20)

    made = Rig((lambda _m: release.wait(20)) if kind == "thread" else waits, concurrency=2)
    made.put(b"", b"")
    until(lambda: (now := made.slots.figures()).runs.busy_s > now.longest_running_s + 0.02, "both run for a while")
    before = made.slots.figures()
    assert (before.running_count, before.runs.finished) == (2, 0)
    assert 0.02 < before.longest_running_s <= before.runs.busy_s < 2 * before.longest_running_s + 1e-9
    release.set()
    until(lambda: len(made.outcomes) == 2, "both ended")
    after = made.slots.figures()
    assert (after.running_count, after.longest_running_s, after.runs.finished) == (0, 0.0, 2)
    assert after.runs.busy_s >= before.runs.busy_s
    assert before.runs.finished_s == 0.0 < after.runs.finished_s == after.runs.busy_s
    assert sum(after.runs.service) == sum(after.runs.durations) == 2
    assert sum(after.runs.durations[DURATION_BUCKETS_S.index(0.01) + 1 :]) == 2, "both took more than 10 ms"


@KINDS
def test_waits_are_counted_from_the_due_time_of_a_retry_else_from_the_publish(kind: str) -> None:
    made = rig(kind, lambda _message: None)
    now_ms = time.time_ns() // 1_000_000
    made.handle(b"", headers={PUBLISHED_MS: now_ms - 3_600_000, DUE_MS: now_ms - 10_000})
    ten_s = quantile(made.slots.figures().runs.wait, 1.0)
    made.handle(b"", headers={PUBLISHED_MS: now_ms - 1_000_000})
    hour_s = quantile(made.slots.figures().runs.wait, 1.0)
    made.handle(b"", headers={PUBLISHED_MS: "yesterday"})
    made.handle(b"")
    assert ten_s == pytest.approx(10, rel=0.4)
    assert hour_s == pytest.approx(1000, rel=0.2)
    assert sum(made.slots.figures().runs.wait) == 2, "without a time nothing is made up"
    assert made.slots.figures().runs.wait_s == pytest.approx(1010, rel=0.01)


@KINDS
def test_a_publisher_whose_clock_is_ahead_makes_no_negative_wait(kind: str) -> None:
    made = rig(kind, lambda _message: None)
    made.handle(b"", headers={PUBLISHED_MS: time.time_ns() // 1_000_000 + 3_600_000})
    assert (made.slots.figures().runs.wait[0], made.slots.figures().runs.wait_s) == (1, 0.0)


def test_a_sync_class_may_have_an_async_close() -> None:
    ran: list[bool] = []

    async def close() -> None:
        await asyncio.sleep(0)
        ran.append(True)

    Rig(lambda _message: None).slots.run(close())
    assert ran == [True]


@KINDS
def test_a_thousand_messages_in_ragged_batches_are_each_handled_once(kind: str) -> None:
    made = rig(kind, lambda _message: None, concurrency=4)
    for size in (1, 2, 500, 3, 1, 493):
        made.put(*[b""] * size)
    until(lambda: len(made.outcomes) == 1000, "all were settled")
    assert sorted(made.order) == list(range(1, 1001))
