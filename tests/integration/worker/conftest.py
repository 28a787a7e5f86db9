"""A broker as operators limit it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hermes_ray.broker.private.local import LocalBroker
from tests.support.rabbitmqctl import ctl


@pytest.fixture
def small_messages(broker: LocalBroker) -> Iterator[None]:
    """The broker takes bodies of 10,000 bytes at most until the test ends."""
    before = ctl(broker, "eval", "application:get_env(rabbit, max_message_size).").strip()
    ctl(broker, "eval", "application:set_env(rabbit, max_message_size, 10000).")
    yield
    size = before.removeprefix("{ok,").removesuffix("}")
    ctl(broker, "eval", f"application:set_env(rabbit, max_message_size, {size}).")
