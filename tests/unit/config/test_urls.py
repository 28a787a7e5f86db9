from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from hermes_ray.config.urls import url_problem, with_parameters


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
        ("amqp://me:1/2@h", "behind the host stands an '@'"),
        ("amqp://me:1?locale=2@h", "behind the host stands an '@'"),
        ("amqps://h?cacertfile=ca.pem", "cacertfile must be the absolute path of a file, or one from ~"),
        ("amqps://h?certfile=", "certfile must be the absolute path"),
        ("amqps://h?verify=true", "verify must be verify_peer or verify_none"),
        ("amqps://h?server_name_indication=a..b", "server_name_indication must be a host name, or disable"),
        ("amqps://h?keyfile=/k", "keyfile needs certfile"),
        ("amqps://h?password=x", "password needs certfile"),
        ("amqp://h?verify=verify_peer", "verify is for TLS, and the scheme is not amqps"),
        ("amqps://h?ssl_options={}&verify=verify_none", "ssl_options and verify both say how TLS is done"),
        ("amqps://h?cacert=/ca", "perhaps cacertfile is meant"),
        ("amqps://h?auth_mechanism=external", "auth_mechanism leaves no choice here: hermes_ray logs in with PLAIN"),
        ("amqp://me:pw@[fe80::1%25lo]/", "the host is neither an IP address nor a name"),
        ("amqp://m%00e:pw@h/", "neither user nor password can hold a NUL"),
        ("amqp://me:p%00w@h/", "neither user nor password can hold a NUL"),
        (f"amqp://h?locale={'é' * 128}", "locale must be text of at most 255 bytes"),
        ("amqps://h?certfile=/c&keyfile=/k&%70assword=x", "names of URL parameters are written as they are, without"),
    ],
)
def test_an_address_that_pika_cannot_connect_with_is_refused_before_it_tries(url: str, problem: str) -> None:
    assert problem in (url_problem(url) or "")


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("amqps://h", "amqps://h?certfile=/a%20%26b&password=%23%3F%40"),
        ("amqps://h/v?", "amqps://h/v?certfile=/a%20%26b&password=%23%3F%40"),
        ("amqps://me:p@h/?heartbeat=5&certfile=/own", "amqps://me:p@h/?heartbeat=5&certfile=/own&password=%23%3F%40"),
        ("amqps://h?certfile=/own&password=x", "amqps://h?certfile=/own&password=x"),
    ],
)
def test_an_address_keeps_its_own_parameters_and_gets_the_others(url: str, whole: str) -> None:
    assert with_parameters(url, {"certfile": "/a &b", "password": "#?@"}) == whole
    assert url_problem(whole) is None


@pytest.mark.parametrize("character", "@/#%?:&=;,+[]\\'\"${}<>|^`~!*() ")
def test_a_password_written_as_it_is_either_arrives_whole_or_is_refused(character: str) -> None:
    password = f"p{character}1{character}2"
    url = f"amqp://me:{password}@h/v"
    if url_problem(url) is None:
        parts = urlsplit(url)
        assert (parts.username, parts.password, parts.hostname, parts.path) == ("me", password, "h", "/v")
