from __future__ import annotations

import pytest

from hermes_ray.broker.connection import connect
from hermes_ray.errors import UserMistake


@pytest.mark.parametrize("query", ["frame_max=1", "channel_max=0", "ssl_options={", "tcp_options=x"])
def test_url_parameters_that_cannot_be_used_are_told_without_the_password(query: str) -> None:
    with pytest.raises(UserMistake, match=r"broker\.url is 'amqp://\*\*\*@127\.0\.0\.1:1/'") as raised:
        connect([f"amqp://me:hush@127.0.0.1:1/?{query}"], name="x")
    assert "hush" not in str(raised.value)
