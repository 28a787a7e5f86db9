"""Errors that are too long to be told whole: what is left of a secret where they are cut."""

from __future__ import annotations

import re

import pytest

from hermes_ray.worker.handlers import Handler


@pytest.mark.parametrize("times", [2, 1_000])
@pytest.mark.parametrize("end", [False, True])
def test_of_a_secret_that_lies_across_the_cut_nothing_is_shown(end: bool, times: int) -> None:
    secret = "canary" * times
    handler = Handler(call=print, is_async=False, close=print, options={"password": secret})
    for shift in range(14):
        text = secret + "y" * (8_000 - shift) if end else "x" * (8_000 - shift) + secret
        assert not set("can") & set(handler.shown(text, end=end).replace("***", ""))


@pytest.mark.parametrize(
    "secret",
    [
        "Endpoint=sb://canary;Pin=481516;AccountKey=abcDEF123456;Tail=2342",
        "canary" * 240 + " https://me:pw@h/ " + "z" * 1500,
    ],
    ids=["a key", "a URL"],
)
@pytest.mark.parametrize("end", [False, True])
def test_what_hides_itself_within_a_secret_at_the_cut_leaves_nothing_of_it(end: bool, secret: str) -> None:
    handler = Handler(call=print, is_async=False, close=print, options={"token": secret})
    for shift in range(0, len(secret), 1 + len(secret) // 70):
        pad = "x" * shift
        said = handler.shown(f"{(secret + ' ') * 400}{pad}" if end else f"{pad}{(' ' + secret) * 400}", end=end)
        assert not re.search("canary|481516|zz|2342", said)
