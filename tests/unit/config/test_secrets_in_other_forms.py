"""A secret among options is hidden in whatever form a driver tells it."""

from __future__ import annotations

import json

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


def test_other_encodings_of_a_secret_are_hidden() -> None:
    for secret, told in (
        ('pä"ss', json.dumps('pä"ss', ensure_ascii=False)[1:-1]),
        ("a/b+c/D", "a%2fb%2bc%2fD"),
        ("päss/Word", "p%c3%a4ss%2fWord"),
    ):
        assert without_secrets(f"refused: {told}", {"password": secret}) == "refused: ***"


def test_a_password_in_braces_is_hidden_without_them_too() -> None:
    options = {"dsn": "Driver=x;UID=me;PWD={pw9;secret};Timeout=3"}
    assert without_secrets("refused: pw9;secret for me", options) == "refused: *** for me"


def test_each_of_many_secrets_is_hidden() -> None:
    options = {"passwords": {f"k{number}": f"{number}-canary" for number in range(1_000, 3_000)}}
    told = [f"{number}-canary" for number in range(1_000, 3_000)]
    assert without_secrets(" ".join(told), options) == " ".join(["***"] * 2_000)
    assert without_secrets("", options) == ""
