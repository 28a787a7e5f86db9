"""Parameters of tests."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["slow"]


def slow(*values: Any) -> Any:
    """One set of parameters for `make test-all` alone: others of its kind run always."""
    return pytest.param(*values, marks=pytest.mark.slow)
