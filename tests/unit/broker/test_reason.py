"""What pika's errors say of why there is no connection."""

from __future__ import annotations

import socket

import pika
import pytest
from pika.adapters.select_connection import SelectConnection

from hermes_ray.broker.reason import reason_of


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_a_refused_socket_is_told_in_the_words_of_the_system() -> None:
    url, errors = f"amqp://127.0.0.1:{closed_port()}/", list[BaseException]()

    def failed(connection: SelectConnection, error: BaseException) -> None:
        errors.append(error)
        connection.ioloop.stop()

    connection = SelectConnection(pika.URLParameters(url), on_open_error_callback=failed)
    connection.ioloop.start()
    connection.ioloop.close()
    assert [reason_of(error) for error in errors] == ["Connection refused"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no", 3), "no 3"),
        (KeyError(), "KeyError"),
        (OSError(104, "Connection reset by peer"), "Connection reset by peer"),
    ],
)
def test_any_other_error_in_its_own_words(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
