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
