"""``hermes publish`` while its broker answers nothing."""

from __future__ import annotations

import threading

import pytest

from hermes_ray.broker.outgoing import fresh
from hermes_ray.cli import publish_run as module
from hermes_ray.cli.load import Load, shaped_load
from hermes_ray.cli.publish_run import Run


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """One message more than may be unanswered."""
    monkeypatch.setattr(module, "MAX_UNANSWERED", 5)
    monkeypatch.setattr(module, "ANSWER_WAIT_S", 0.3)
    return shaped_load("constant", 6_000, 0.001)


def test_a_load_that_waits_for_answers_says_so_once_and_why(load: Load) -> None:
    run, over, told = Run(["amqp://guest:guest@127.0.0.1:1/"], name="test"), threading.Event(), []

    def tell() -> None:
        told.append((run.unanswered_count, run.lost_reason or ""))
        threading.Timer(1.0, over.set).start()

    run.play(load, lambda _n: fresh("q", b""), over, on_silence=tell)
    assert not run.finish(0.1)
    ((count, reason),) = told
    assert count == 5
    assert "Connection refused" in reason
