"""A property that never ends is a failure with a name and a stack."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """End the process at a time-out: hypothesis would take an exception for a finding, and shrink it for ever."""
    for item in items:
        if "tests/property/" in item.nodeid:
            item.add_marker(pytest.mark.timeout(method="thread"))
