"""What a broker tells of an argument, and what is declared of it."""

from __future__ import annotations

import pytest

from hermes_ray.broker.queue_form import _typed


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ("none", None),
        ("the value '5' of type 'signedint'", 5),
        ("the value '-5' of type 'long'", -5),
        ("the value '5' of type 'longstr'", "5"),
        ("the value 'true' of type 'bool'", True),
        ("the value 'true' of type 'longstr'", "true"),
        ("the value '5' of type 'long' of type 'longstr'", "5' of type 'long"),
        ("the value 'a but current is 'b'' of type 'longstr'", "a but current is 'b'"),
        ("the value '' of type 'longstr'", ""),
        ("'classic'", "classic"),
        ("'false'", False),
        ("'5' of type 'x'", "5' of type 'x"),
        ("''", ""),
    ],
)
def test_what_is_told_of_an_argument_is_declared_with_its_type(told: str, value: str | int | None) -> None:
    found = _typed(told)
    assert (found, type(found)) == (value, type(value))
