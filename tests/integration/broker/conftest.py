"""What tests of queues begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.connection import connect
from tests.support.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def connection(vhost_url: str) -> Iterator[BlockingConnection]:
    connection = connect([vhost_url], name="tests/broker")
    yield connection
    if connection.is_open:
        connection.close()
