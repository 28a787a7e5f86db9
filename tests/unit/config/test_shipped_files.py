"""The files under conf/ name handlers that there are, built from the options that are there."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

from hermes_ray.config.loading import load
from hermes_ray.worker.handlers import load_handler

SHIPPED = sorted((Path(__file__).parents[3] / "conf").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_handler_of_a_shipped_file_is_built_from_its_options(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIDHUB_DATABASE", str(tmp_path / "raidhub.sqlite"))
    for name in ("RAIDHUB_API", "HERMES_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    topics = load(path).topics
    assert topics
    for topic in topics.values():
        handler = load_handler(topic.handler, topic.options)
        closing = handler.close()
        if inspect.iscoroutine(closing):
            asyncio.run(closing)
