from __future__ import annotations

import ssl

import pytest

from hermes_ray.broker.connection import connect, parameters
from hermes_ray.config.urls import NUMERIC_QUERY, url_problem
from hermes_ray.errors import UserMistake


@pytest.mark.parametrize(
    "query",
    [
        *("frame_max=1", "channel_max=0", "ssl_options={", "tcp_options=x", "ssl_options={}", "ssl_options={[]:1}"),
        *("tcp_options={'TCP_KEEPIDLE':0}", "tcp_options={'TCP_KEEPCNT':128}"),
        *(f"ssl_options={{'capath':'/','server_hostname':{name}}}" for name in ("'a..b'", "''", "5", "'hush%00'")),
        f"ssl_options={{'capath':'/','protocol':{int(ssl.PROTOCOL_TLS_SERVER)}}}",
    ],
)
def test_url_parameters_that_cannot_be_used_are_told_without_the_password(query: str) -> None:
    with pytest.raises(UserMistake, match=r"broker\.url is 'amqp://\*\*\*@127\.0\.0\.1:1/'") as raised:
        connect([f"amqp://me:hush@127.0.0.1:1/?{query}"], name="x")
    assert "hush" not in str(raised.value)


def test_a_file_of_the_url_that_is_not_there_is_told_as_such() -> None:
    with pytest.raises(UserMistake, match=r"cannot use \(No such file or directory\): correct them"):
        parameters("amqp://me:hush@127.0.0.1:1/?ssl_options={'cafile':'/nowhere/ca.pem'}", name="x")


NUMBERS = [f"{key}={number}" for key, ends in NUMERIC_QUERY.items() for number in ends]


@pytest.mark.parametrize(
    "url",
    [
        "amqp://h",
        "amqp://me:@h",
        "amqp://:pw@h",
        "amqp://me%zz:p%@h",
        "amqp://%FF:%FF@h/%FF",
        f"amqp://[fe80::1%lo]/?locale={'x' * 255}",
        *(f"amqp://h?{word}" for word in (*NUMBERS, "tcp_options={'TCP_KEEPIDLE':60}", "ssl_options=None", "locale=")),
        "amqps://me:pw@h/v?verify=verify_none&heartbeat=5&locale=&server_name_indication=disable",
    ],
)
def test_an_address_that_the_configuration_takes_is_one_that_pika_takes(url: str) -> None:
    assert url_problem(url) is None
    parameters(url, name="x")
