"""Where a token is said to come from, when a cluster wants another."""

from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import AuthenticationError

from hermes_ray.cluster import authentication as module
from hermes_ray.cluster.authentication import present_token
from hermes_ray.errors import UserMistake


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RAY_AUTH_TOKEN": "secret", "RAY_AUTH_TOKEN_PATH": "/t"}, "that in RAY_AUTH_TOKEN is another"),
        ({"RAY_AUTH_TOKEN_PATH": "/t"}, "that in RAY_AUTH_TOKEN_PATH=/t is another"),
        ({}, "there is none here"),
        ({"RAY_AUTH_TOKEN": "secret", "RAY_AUTH_MODE": "disabled"}, "RAY_AUTH_MODE=disabled sends none"),
    ],
)
def test_a_token_that_is_refused_is_named_by_where_it_comes_from_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str, tmp_path: Any
) -> None:
    def refuse(_address: str) -> None:
        raise AuthenticationError("no")

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "send_token", lambda: None)
    monkeypatch.setattr(module, "try_token", refuse)
    with pytest.raises(UserMistake, match=said) as raised:
        present_token("h:6379")
    assert "secret" not in str(raised.value)
