"""Slots of sync handlers at the limit of threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.outcome import Retry
from tests.support.slot_rig import Rig


async def work() -> None: ...


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what the first one returned is never awaited
def test_a_thread_that_could_not_be_started_once_fails_that_message_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        monkeypatch.undo()
        raise RuntimeError("can't start new thread")

    def handler(_message: Message) -> Any:
        return work()

    made = Rig(handler, concurrency=2)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    first, second = made.handle(b"a"), made.handle(b"b", b"c")
    assert isinstance(first[0], Retry)
    assert first[0].error == "RuntimeError: can't start new thread"
    assert second == [None, None]
