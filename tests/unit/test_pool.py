from __future__ import annotations

from hermes_ray.config import Config, TopicConfig
from hermes_ray.runtime.plan import Plan
from hermes_ray.runtime.pool import packed, unpacked

RAY_KEEPS_BYTES = 100 * 1024


def test_a_plan_of_a_thousand_topics_travels_in_pieces_that_ray_keeps_with_the_actor() -> None:
    config = Config(topics={f"topic_number_{n}": TopicConfig(handler="package.module:Handler") for n in range(1000)})
    plan = Plan(config=config, concurrency=dict.fromkeys(config.topics, 4))
    pieces = packed(plan)
    assert len(pieces) > 1
    assert max(map(len, pieces)) < RAY_KEEPS_BYTES
    assert unpacked(pieces) == plan
