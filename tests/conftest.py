"""The broker all tests share, and a virtual host of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import settings

from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.errors import HermesError
from tests.support.rabbitmqctl import ctl

PREPARED_VHOST_COUNT = 80

# The same examples on every machine (hypothesis has other defaults where CI is set); new ones, and more of them, in
# `make test-all`. Properties may take their time: a busy machine is no failure.
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("exploring", deadline=None, derandomize=False, max_examples=500)


@pytest.fixture(scope="session", autouse=True)
def width_of_a_pipe() -> Iterator[None]:
    """What commands print into pipes does not depend on the terminal that the tests were started from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture(scope="session")
def broker() -> Iterator[LocalBroker]:
    """A private RabbitMQ node; restart or kill only one of your own."""
    try:
        node = LocalBroker(vhosts=[f"test-{number}" for number in range(PREPARED_VHOST_COUNT)])
        node.start()
    except HermesError as error:
        pytest.fail(str(error), pytrace=False)
    yield node
    node.stop()


@pytest.fixture(scope="session")
def new_vhost(broker: LocalBroker) -> Callable[[], str]:
    """Names a virtual host that nobody has used, at each call."""
    numbers = count()

    def new() -> str:
        number = next(numbers)
        name = f"test-{number}"
        if number >= PREPARED_VHOST_COUNT:
            ctl(broker, "add_vhost", name)
            ctl(broker, "set_permissions", "--vhost", name, "guest", ".*", ".*", ".*")
        return name

    return new


@pytest.fixture
def vhost(new_vhost: Callable[[], str]) -> str:
    """The name of a virtual host that no other test has used."""
    return new_vhost()


@pytest.fixture
def vhost_url(broker: LocalBroker, vhost: str) -> str:
    """The AMQP URL of a virtual host that no other test has used."""
    return broker.url(vhost)
