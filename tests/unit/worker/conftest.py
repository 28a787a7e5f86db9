"""Fixtures of several tests of workers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened when the test ends."""
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Threads take turns all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)
