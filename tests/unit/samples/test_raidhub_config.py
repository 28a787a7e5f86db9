"""``conf/raidhub.yaml`` as the commands read it."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

from hermes_ray.config import loading as config
from hermes_ray.worker.handlers import load_handler

CONF = Path(__file__).parents[3] / "conf" / "raidhub.yaml"


def test_its_handlers_are_built_from_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAIDHUB_DATABASE", str(tmp_path / "raidhub.sqlite"))
    for topic in config.load(CONF).topics.values():
        handler = load_handler(topic.handler, topic.options)
        closing = handler.close()
        if inspect.iscoroutine(closing):
            asyncio.run(closing)
    assert (tmp_path / "raidhub.sqlite").exists()


def test_its_topics_have_the_weights_of_the_audit_and_fit_a_laptop_with_two_cpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RAIDHUB_DATABASE", "RAIDHUB_API"):
        monkeypatch.delenv(name, raising=False)
    topics = config.load(CONF).topics
    assert {name: topic.weight for name, topic in topics.items()} == {
        "instance_store": 10,
        "player_crawl": 3,
        "character_fill": 1,
    }
    assert sum(topic.workers.min * topic.worker.num_cpus for topic in topics.values()) <= 1
    assert all(topic.workers.max * topic.worker.num_cpus <= 2 for topic in topics.values())
    assert topics["player_crawl"].options["api"] == "http://127.0.0.1:8077"
