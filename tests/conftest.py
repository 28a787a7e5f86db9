"""The broker all tests share, and a virtual host of its own for each test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import settings

from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.errors import HermesError
from tests.support.rabbitmqctl import remake_vhosts

# One command makes so many and removes as many that are done with: each command is half a second of a core, and what
# tests leave in a virtual host keeps the node busy.
VHOSTS_AT_ONCE = 20
KEPT_VHOST_COUNT = 60  # some serve a whole file

# The same examples on every machine (hypothesis has other defaults where CI is set); new ones, and more of them, in
# `make test-all`. Properties may take their time: a busy machine is no failure.
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=30)
settings.register_profile("exploring", deadline=None, derandomize=False, max_examples=500)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files begin first, so that none is left alone at the end."""
    items.sort(key=lambda item: "live" not in item.path.parts)


@pytest.fixture(scope="session", autouse=True)
def width_of_a_pipe() -> Iterator[None]:
    """What commands print into pipes does not depend on the terminal that the tests were started from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Handlers wait for it, until the test ends at the latest."""
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture(scope="session")
def broker() -> Iterator[LocalBroker]:
    """A private RabbitMQ node; restart or kill only one of your own."""
    try:
        node = LocalBroker()
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
        if number % VHOSTS_AT_ONCE == 0:
            old = number - KEPT_VHOST_COUNT
            remake_vhosts(
                broker,
                made=range(number, number + VHOSTS_AT_ONCE),
                removed=range(old, old + VHOSTS_AT_ONCE) if old >= 0 else range(0),
            )
        return f"test-{number}"

    return new


@pytest.fixture
def vhost(new_vhost: Callable[[], str]) -> str:
    """The name of a virtual host that no other test has used."""
    return new_vhost()


@pytest.fixture
def vhost_url(broker: LocalBroker, vhost: str) -> str:
    """The AMQP URL of a virtual host that no other test has used."""
    return broker.url(vhost)
