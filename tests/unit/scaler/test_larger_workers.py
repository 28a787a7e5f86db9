"""An apply that makes workers larger than the cluster has room for in the same number."""

from __future__ import annotations

import pytest

from hermes_ray.core.model import Capacity, Node
from tests.support.scaler_world import ScalerWorld

SIX_CPUS = Capacity(nodes=(Node(node_id="node", available={"CPU": 6.0}),))


def six_small(*words: str) -> ScalerWorld:
    world = ScalerWorld("topics.light.worker.num_cpus=1", *words)
    world.view.answer = SIX_CPUS
    world.rate_hz["light"] = 200
    world.tick(60)
    assert len(world.of("light")) == 6
    return world


@pytest.mark.parametrize("policy", ["adaptive", "threshold", "fixed"])
@pytest.mark.parametrize("unknown_s", [0, 20])
def test_code_that_does_not_start_costs_the_room_of_one_new_worker(policy: str, unknown_s: int) -> None:
    words = (f"topics.light.scaling.policy={policy}", "topics.light.workers.min=6", "topics.light.workers.max=10")
    world = six_small(*words)
    old = set(world.of("light"))
    world.broken.add("light")
    world.applied("topics.light.worker.num_cpus=3", *words, code="new")
    world.unwell.add("light")
    world.unheard |= old
    world.tick(unknown_s)
    world.unwell.clear()
    world.unheard.clear()
    world.tick(400)
    assert len(old & set(world.of("light"))) == 3
    world.broken.clear()
    world.tick(400)
    assert len(world.of("light")) == 2
    assert not old & set(world.of("light"))


def test_what_nobody_wants_any_more_goes_although_the_new_code_does_not_start() -> None:
    world = six_small()
    old = set(world.of("light"))
    world.broken.add("light")
    world.applied("topics.light.worker.num_cpus=3", code="new")
    world.tick(60)
    world.rate_hz.clear()
    world.ready.clear()
    world.tick(600)
    assert not old & set(world.of("light"))
