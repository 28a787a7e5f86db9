from __future__ import annotations

from hermes_ray.cluster.scaler_actor import Scaler
from hermes_ray.cluster.scalers import SCALER_CLASS, packed, unpacked
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
