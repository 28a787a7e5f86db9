"""What a library leaves of a secret where it shortens a value is hidden too."""

from __future__ import annotations

import pytest

from hermes_ray.config.option_secrets import without_secrets

KEY = "kT9vQ2mZx7LpR4wNc8YbHs3J"


@pytest.mark.parametrize(
    ("options", "text", "told"),
    [
        (
            {"api_key": KEY},
            f"input_value={{'host': 'db.int...{KEY[2:]}'}}, x",
            "input_value={'host': 'db.int...***'}, x",
        ),
        ({"api_key": KEY}, f"input_value='{KEY[:10]}...{KEY[-8:]}', x", "input_value='***...***', x"),
        ({"api_key": KEY}, f"got '{KEY[:12]}…'", "got '***…'"),
        (
            {"dsn": f"postgresql://app:{KEY}@db/p"},
            f"{{'region': 'eu'...{KEY[9:]}@db/p'}}",
            "{'region': 'eu'...***@db/p'}",
        ),
        ({"api_key": KEY}, f"{KEY[:9]}...{KEY[9:]}...", "***...***..."),
        ({"api_key": KEY}, "waiting ... for kT9v ... no more...", "waiting ... for kT9v ... no more..."),
        ({}, "a...b", "a...b"),
    ],
)
def test_pieces_beside_a_cut_are_hidden(options: dict[str, str], text: str, told: str) -> None:
    assert without_secrets(text, options) == told


def test_text_of_many_cuts_is_looked_through_once() -> None:
    options = {f"secret_{n}": f"{n:06}{KEY}{n:06}" for n in range(500)}
    text = "000001kT9v...J000001" * 2_000
    assert KEY[:4] not in without_secrets(text, options)
