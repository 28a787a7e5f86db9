"""What trying handlers tells of the slots that the policy reckons with; Ray is left out."""

from __future__ import annotations

import pytest

from hermes_ray.config.loading import load
from hermes_ray.deploy import preflight
from hermes_ray.deploy.preflight import try_handlers
from hermes_ray.worker.handlers import ASYNC_CONCURRENCY


def test_slots_that_could_never_have_a_message_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "start_once", lambda *_task: lambda _timeout_s: ASYNC_CONCURRENCY)
    words = ["topics.plain.handler=m:f", "topics.few.handler=m:f", "topics.few.worker.prefetch=3"]
    words += ["topics.own.handler=m:f", "topics.own.worker={concurrency: 5, prefetch: 9}"]
    config = load(None, words)
    assert try_handlers(config, config.topics, ()) == {"plain": 32, "few": 3, "own": 5}
