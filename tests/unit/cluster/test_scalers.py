from __future__ import annotations

from types import SimpleNamespace

import pytest

from hermes_ray.cluster import scalers as module
from hermes_ray.cluster.scaler_actor import Scaler
from hermes_ray.cluster.scalers import SCALER_CLASS, deployment_names, packed, unpacked
from hermes_ray.config.settings import Config, TopicConfig
from hermes_ray.scaler.plan import Plan

RAY_KEEPS_BYTES = 100 * 1024


def test_a_plan_of_a_thousand_topics_travels_in_pieces_that_ray_keeps_with_the_actor() -> None:
    config = Config(topics={f"topic_number_{n}": TopicConfig(handler="package.module:Handler") for n in range(1000)})
    plan = Plan(config=config, concurrency=dict.fromkeys(config.topics, 4))
    pieces = packed(plan)
    assert len(pieces) > 1
    assert max(map(len, pieces)) < RAY_KEEPS_BYTES
    assert unpacked(pieces) == plan


def test_the_scaler_is_known_by_the_name_of_its_class() -> None:
    assert f"{Scaler.__module__}.{Scaler.__qualname__}" == SCALER_CLASS


def test_a_deployment_is_where_a_scaler_of_ours_is(monkeypatch: pytest.MonkeyPatch) -> None:
    actors = [("b", "scaler"), ("a", "scaler"), ("a", "orders/3f2a91bc"), ("c", "orders/3f2a91bc"), ("d", "scaler")]
    listed = [{"namespace": namespace, "name": name} for namespace, name in actors]
    util = SimpleNamespace(list_named_actors=lambda all_namespaces: listed)
    fake = SimpleNamespace(util=util, get_actor=lambda name, namespace: namespace)
    monkeypatch.setattr(module, "ray", fake)
    monkeypatch.setattr(module, "class_of", lambda handle: "their.Scaler" if handle == "d" else SCALER_CLASS)
    assert deployment_names() == ["a", "b"]
