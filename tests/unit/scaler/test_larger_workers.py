"""An apply that makes workers larger than the cluster has room for in the same number."""

from __future__ import annotations

import pytest

from hermes_ray.core.model import Capacity, Node
from tests.support.params import slow
from tests.support.scaler_world import ScalerWorld

SIX_CPUS = Capacity(nodes=(Node(node_id="node", available={"CPU": 6.0}),))


def six_small(*words: str) -> ScalerWorld:
    world = ScalerWorld("topics.light.worker.num_cpus=1", *words)
    world.view.answer = SIX_CPUS
    world.rate_hz["light"] = 200
    world.tick(60)
    assert len(world.of("light")) == 6
    return world


@pytest.mark.parametrize("policy", ["adaptive", slow("threshold"), slow("fixed")])
@pytest.mark.parametrize("unknown_s", [slow(0), 20])
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


def test_a_moment_without_messages_takes_no_old_worker() -> None:
    """Ten are wanted, two have a place: what is wanted goes down after a minute, as a target does."""
    world = ScalerWorld("topics.light.worker.num_cpus=1", "topics.light.workers.max=20")
    world.view.answer = Capacity(nodes=(Node(node_id="node", available={"CPU": 16.0}),))
    world.rate_hz["light"] = 60
    world.tick(240)
    old = set(world.of("light"))
    world.broken.add("light")
    world.applied("topics.light.worker.num_cpus=8", "topics.light.workers.max=20", code="new")
    world.tick(120)
    left = len(old & set(world.of("light")))
    assert left >= len(old) - 4
    world.rate_hz["light"] = 0
    world.tick(2)
    world.rate_hz["light"] = 60
    world.tick(60)
    assert len(old & set(world.of("light"))) == left


def test_a_step_of_the_threshold_rule_is_a_step_of_what_works() -> None:
    words = ("topics.light.scaling.policy=threshold", "topics.light.workers.min=6", "topics.light.workers.max=6")
    world = six_small(*words)
    old = set(world.of("light"))
    world.broken.add("light")
    words = (words[0], "topics.light.workers.max=6", "topics.light.scaling.threshold.interval_s=10")
    world.applied("topics.light.worker.num_cpus=3", *words, "topics.light.scaling.threshold.cooldown_s=0", code="new")
    world.tick(20)
    assert len(old & set(world.of("light"))) == 3
    world.rate_hz.clear()
    world.ready.clear()
    for _ in range(120):
        world.tick()
        if (world.figures("light").target or 0) < 2:
            break
    assert world.figures("light").target == 1
    world.tick(2)
    assert len(old & set(world.of("light"))) == 3, "of six one less is wanted: five"
