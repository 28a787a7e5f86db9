from __future__ import annotations

import pytest

from hermes_ray.cluster.tasks import cause_text


class Carrying(Exception):
    """An error as Ray raises it: the cause inside."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("Traceback of Ray's own\n")
        self.cause = cause


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("Traceback (most recent call last):\n  File ...\nImportError: no module named orders\n\n"),
         "ImportError: no module named orders"),
        (Carrying(ValueError("a depth of -1")), "a depth of -1"),
        (Carrying(KeyError()), "KeyError"),
    ],
)  # fmt: skip
def test_of_an_error_of_ray_the_last_line_of_what_caused_it_is_said(error: BaseException, text: str) -> None:
    assert cause_text(error) == text
