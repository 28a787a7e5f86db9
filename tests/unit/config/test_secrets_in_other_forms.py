"""A secret among options is hidden in whatever form a driver tells it."""

from __future__ import annotations

import pytest

from hermes_ray.config.option_secrets import without_secrets

PASSWORDS = ["pässwort-1", "pä'ss\"wört\\1", "pä'sswort", 'pä"sswort', "päss/w%C3%B6rt"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_the_bytes_of_a_secret_are_hidden(password: str, encoding: str) -> None:
    raw = password.encode(encoding)
    for options in ({"password": password}, {"dsn": f"host=db password={password}"}):
        assert without_secrets(f"refused: {raw!r}", options) == f"refused: {raw!r}".replace(repr(raw)[2:-1], "***")
        in_both = b"'%b\"" % raw
        assert repr(in_both)[4:-2] not in without_secrets(f"refused: {in_both!r}", options)


def test_the_bytes_of_a_secret_that_is_not_latin_are_hidden() -> None:
    assert without_secrets(f"refused: {'пароль'.encode()!r}???", {"password": "пароль"}) == "refused: b'***'???"
