"""Connections that are opened again until they are closed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from pika.adapters.select_connection import IOLoop

from hermes_ray.broker.link import Link
from hermes_ray.broker.wire import Wire


def test_a_connection_that_an_alarm_blocks_is_never_given_up_for_that() -> None:
    """On the next one all would be sent again, which the broker reads too once the alarm is over."""
    chosen: list[Any] = []

    class Connection:
        def __init__(self, parameters: Any, **_: Any) -> None:
            chosen.append(parameters)

    wire = cast(Wire, SimpleNamespace(connection_class=Connection))
    link = Link(cast(IOLoop, None), ["amqp://h"], name="n", on_open=lambda _: None, on_lost=lambda _: None, wire=wire)
    link.open()
    assert [parameters.blocked_connection_timeout for parameters in chosen] == [None]
