"""Files of TLS that are none, or stop being any: told in a sentence, and never waited for."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from hermes_ray.broker import tls as module
from hermes_ray.broker.tls import tls_options
from hermes_ray.errors import UserMistake

NODE = socket.gethostname()


def told(settings: dict[str, str]) -> str:
    with pytest.raises(UserMistake) as refused:
        tls_options(settings)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "key"), [("cacertfile", "broker.tls.ca"), ("certfile", "broker.tls.cert"), ("keyfile", "broker.tls.key")]
)
def test_what_is_no_regular_file_is_refused_and_not_waited_for(name: str, key: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "cert.pem").touch()
    settings = {"certfile": str(tmp_path / "cert.pem")} if name == "keyfile" else {}
    for path in (str(tmp_path / "fifo"), "/dev/null"):
        assert told(settings | {name: path}) == (
            f"on node {NODE} {path} cannot be read (it is no regular file): put it there, or correct {key}"
        )


def test_a_file_that_cannot_be_read_while_it_is_open_is_told() -> None:
    assert told({"cacertfile": "/proc/self/mem"}) == (
        f"on node {NODE} /proc/self/mem cannot be read (Input/output error): put it there, or correct broker.tls.ca"
    )


@pytest.mark.parametrize("name", ["cacertfile", "certfile"])
def test_a_file_that_is_removed_before_it_is_loaded_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pem"
    path.touch()
    made: Any = ssl.create_default_context

    def removing(**more: Any) -> ssl.SSLContext:
        path.unlink()
        context: ssl.SSLContext = made(**more)
        return context

    if name == "cacertfile":
        monkeypatch.setattr(ssl, "create_default_context", removing)
    else:
        monkeypatch.setattr(module, "_readable", lambda path, _key: path)
        path.unlink()
    assert f"{path} cannot be read (No such file or directory): put it there, or correct broker.tls.c" in told(
        {name: str(path)}
    )


def test_a_password_that_a_path_has_swallowed_is_hidden() -> None:
    assert "/nope;password=*** cannot be read" in told({"certfile": "/nope;password=hunter2"})


def test_a_path_is_told_in_one_short_line() -> None:
    assert "'/nope\\na' cannot be read (No such file or directory)" in told({"cacertfile": "/nope\na"})
    assert len(told({"cacertfile": f"/{'a' * 5000}"})) < 250
