"""The bodies made for the topics of the sample."""

from __future__ import annotations

import json
import random

import pytest

from hermes_ray.samples.raidhub import body
from hermes_ray.samples.raidhub.loads import FIRST_PLAYER_ID


def test_bodies_depend_on_the_seed_alone() -> None:
    for topic in ("instance_store", "player_crawl", "character_fill"):
        one, two = random.Random(3), random.Random(3)
        assert [body(topic, n, one) for n in range(50)] == [body(topic, n, two) for n in range(50)]


def test_a_few_players_play_most() -> None:
    rng = random.Random(3)
    ids = [int(json.loads(body("player_crawl", n, rng))["player_id"]) - FIRST_PLAYER_ID for n in range(2000)]
    assert sum(1 for n in ids if n < 20_000 // 8) > 900
    assert min(ids) >= 0
    assert max(ids) < 20_000


def test_a_topic_the_sample_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match="no topic clan_crawl: it has character_fill, instance_store, player_crawl"):
        body("clan_crawl", 0, random.Random(0))
