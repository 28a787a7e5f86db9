"""Handlers in partials, decorators and objects of any make: taken for what calling them does."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.errors import OperationFailed
from hermes_ray.outcome import Retry
from hermes_ray.worker.handlers import load_handler
from tests.support.slot_rig import Rig

HERE = __name__


async def async_handler(message: Message) -> None: ...


def generator_handler(message: Message) -> Iterator[int]:
    yield 1


class Static:
    @staticmethod
    async def __call__(message: Message) -> None: ...


class OfClass:
    @classmethod
    def __call__(cls, message: Message) -> None: ...


class WithPartial:
    __call__ = partial(async_handler)


class StaticWithTwo:
    @staticmethod
    def __call__(message: Message, session: object) -> None: ...


class Yields:
    def __call__(self, message: Message) -> Iterator[int]:
        yield 1


class StaticYields:
    @staticmethod
    def __call__(message: Message) -> Iterator[int]:
        yield 1


class Store:
    def __init__(self, *given: object, x: int = 0) -> None: ...

    def __call__(self, message: Message) -> None: ...


class CallsAClass:
    __call__ = Store


def with_session(function: Callable[[Message, object], None]) -> Callable[[Message], None]:
    @functools.wraps(function)
    def call(message: Message) -> None:
        function(message, object())

    return call


@with_session
def stores(message: Message, session: object) -> None: ...


def runs_it(function: Callable[[Message], Iterator[int]]) -> Callable[[Message], None]:
    @functools.wraps(function)
    def call(message: Message) -> None:
        list(function(message))

    return call


def passes_it_on(function: Callable[[Message], Iterator[int]]) -> Callable[[Message], Any]:
    @functools.wraps(function)
    def call(message: Message) -> Any:
        return function(message)

    return call


run_by_decorator = runs_it(generator_handler)
passed_on_by_decorator = passes_it_on(generator_handler)
static = Static()
static_in_partial = partial(StaticWithTwo(), session=None)
static_in_partials = partial(partial(static_in_partial))
async_in_partial = partial(Static())
yields_in_partial = partial(Yields())
class_in_partial = partial(Store, x=3)
class_in_partials = partial(partial(class_in_partial))


@pytest.mark.parametrize(
    ("name", "is_async"),
    [
        ("Static", True),
        ("static", True),
        ("OfClass", False),
        ("WithPartial", True),
        ("static_in_partial", False),
        ("static_in_partials", False),
        ("async_in_partial", True),
        ("stores", False),
        ("run_by_decorator", False),
    ],
)
def test_what_can_be_called_with_a_message_is_a_handler_of_its_kind(name: str, is_async: bool) -> None:
    handler = load_handler(f"{HERE}:{name}", {})
    assert handler.is_async == is_async
    made = Rig(handler.call)
    assert made.handle(b"a") == [None]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Yields", "has a yield"),
        ("StaticYields", "has a yield"),
        ("yields_in_partial", "has a yield"),
        ("class_in_partial", "would build a Store with each message and never call it: name the class, and give what"),
        ("class_in_partials", "would build a Store with each message"),
        ("CallsAClass", "would build a Store with each message"),
        ("StaticWithTwo", "cannot be called with one argument, the message"),
    ],
)
def test_what_cannot_is_refused_whatever_is_around_it(name: str, sentence: str) -> None:
    with pytest.raises(OperationFailed, match=f"^handler {HERE}:{name} {sentence}"):
        load_handler(f"{HERE}:{name}", {})


def test_a_generator_function_that_a_decorator_hides_fails_its_messages() -> None:
    (outcome,) = Rig(load_handler(f"{HERE}:passed_on_by_decorator", {}).call).handle(b"a")
    assert isinstance(outcome, Retry)
    assert "the handler returned a generator, of which nothing has run" in outcome.error
