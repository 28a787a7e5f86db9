from __future__ import annotations

import pytest

from hermes_ray.config.urls import url_problem


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("amqp://me@h/", "before the '@' stands no password"),
        ("amqp://@h/", "before the '@' stands no password"),
        ("amqp://me:\udcff@h/", "it is no UTF-8 text"),
        (f"amqp://h/{'v' * 256}", "the virtual host must have 255 bytes at most"),
        ("amqp://h?heartbeat=65536", "heartbeat must be a whole number from 0 to 65535"),
        ("amqp://h?channel_max=0", "channel_max must be a whole number from 1 to 65535"),
        ("amqp://h?heartbeat=5&heartbeat=6", "heartbeat is given twice"),
        ("amqp://h?tcp_options={'TCP_KEEPIDLE':'1'}", "tcp_options must be a mapping of names to whole numbers"),
        ("amqp://h?ssl_options={[]:1}", "ssl_options must be a mapping"),
    ],
)
def test_an_address_that_pika_cannot_connect_with_is_refused_before_it_tries(url: str, problem: str) -> None:
    assert problem in (url_problem(url) or "")
