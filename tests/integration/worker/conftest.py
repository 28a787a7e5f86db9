"""A broker as operators limit it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.errors import OperationFailed
from tests.support.account import Account
from tests.support.rabbitmqctl import ctl


@pytest.fixture
def small_messages(broker: LocalBroker) -> Iterator[None]:
    """The broker takes bodies of 10,000 bytes at most until the test ends."""
    before = ctl(broker, "eval", "application:get_env(rabbit, max_message_size).").strip()
    ctl(broker, "eval", "application:set_env(rabbit, max_message_size, 10000).")
    yield
    size = before.removeprefix("{ok,").removesuffix("}")
    ctl(broker, "eval", f"application:set_env(rabbit, max_message_size, {size}).")


@pytest.fixture
def account(broker: LocalBroker, vhost_url: str) -> Iterator[Account]:
    made = Account(broker, vhost_url)
    yield made
    made.end()


@pytest.fixture
def limits(broker: LocalBroker, vhost: str) -> Iterator[None]:
    """Limits and policies of the virtual host that a test sets end with it."""
    yield
    for clear in (["clear_vhost_limits", "-p", vhost], ["clear_policy", "-p", vhost, "small"]):
        with contextlib.suppress(OperationFailed):  # there are none
            ctl(broker, *clear)
