"""What the next scaler goes on from: under the same plan, a later one, on another cluster, and from nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermes_ray.core.estimate import History, learnt
from hermes_ray.core.model import Override
from hermes_ray.deploy.plan import Owner, Plan
from hermes_ray.scaler.memory import Memory, TopicMemory, recalled
from tests.support.fleet_scene import config
from tests.support.memories import OWNER, PIN, PRIOR, filled, history, topic_memory

NEXT = Owner(key="two", label="hermes apply, pid 8 on here", stays=False)
HERE = "this one"


def plan(generation: int = 7, *words: str) -> Plan:
    owner = OWNER if generation == 7 else NEXT
    return Plan(config=config(*words), concurrency={"light": 4, "heavy": 4}, generation=generation, owner=owner)


def test_a_scaler_restarted_under_the_same_plan_goes_on_from_everything() -> None:
    memory = filled(topics={"heavy": topic_memory(override=Override(stopped=True)), "light": TopicMemory(deaths=2)})
    assert recalled(memory, plan(), HERE) == memory


def test_who_took_over_without_a_change_still_owns_it_after_a_restart() -> None:
    """Ray hands a restarted scaler the plan of the apply that changed something last."""
    memory = recalled(filled(owner=NEXT), plan(), HERE)
    assert memory.owner == NEXT


def test_under_a_later_plan_all_but_the_stop_order_and_stopped_topics_is_kept_and_the_plans_owner_owns() -> None:
    stopped = replace(PIN, stopped=True)
    memory = filled(topics={"heavy": topic_memory(override=stopped), "light": TopicMemory(deaths=2)})
    now = recalled(memory, plan(8), HERE)
    assert (now.generation, now.owner, now.stop_by_s) == (8, NEXT, None)
    assert now.topics == {"heavy": topic_memory(override=PIN), "light": TopicMemory(deaths=2)}
    assert (now.policy, now.workers, now.saved_s) == (memory.policy, memory.workers, memory.saved_s)


@pytest.mark.parametrize(
    "said", [Override(paused=True), Override(pinned_count=20), Override(pinned_count=0, pinned_until_s=5e9), PIN]
)
def test_pauses_and_pins_survive_a_restart_and_an_apply(said: Override) -> None:
    memory = filled(topics={"heavy": topic_memory(override=said)})
    for generation in (7, 8):
        assert recalled(memory, plan(generation), HERE).topics["heavy"].override == said


def test_on_another_cluster_only_what_handling_a_message_takes_is_known() -> None:
    memory = filled(topics={"heavy": topic_memory(), "light": TopicMemory()})
    for generation in (7, 8):
        now = recalled(memory, plan(generation), "another")
        rate = learnt(history())
        assert rate is not None
        assert rate.service_rate_hz == pytest.approx(2.0)
        assert now == Memory(
            generation=generation,
            cluster_id="another",
            owner=plan(generation).owner,
            topics={"heavy": TopicMemory(history=History(prior=rate)), "light": TopicMemory()},
        )


def test_what_was_learnt_elsewhere_is_still_known_on_a_third_cluster_although_nothing_ran_on_the_second() -> None:
    memory = filled(topics={"heavy": TopicMemory(history=History(prior=PRIOR))})
    assert recalled(memory, plan(), "a third").topics["heavy"].history == History(prior=PRIOR)


@pytest.mark.parametrize("cluster_id", [HERE, "another"])
@pytest.mark.parametrize("generation", [7, 8])
def test_topics_that_are_not_configured_any_more_are_kept_for_their_return(cluster_id: str, generation: int) -> None:
    memory = filled(topics={"heavy": topic_memory(), "gone": topic_memory()})
    now = recalled(memory, plan(generation), cluster_id)
    assert set(now.topics) == {"heavy", "gone"}


def test_workers_of_topics_that_are_not_configured_any_more_are_remembered_to_be_drained() -> None:
    now = recalled(filled(topics={"gone": topic_memory()}), plan(8), HERE)
    assert [kept["worker"] for kept in now.workers] == ["heavy/0a", "light/0b"]


def test_without_a_memory_everything_starts_from_nothing() -> None:
    assert recalled(None, plan(), HERE) == Memory(generation=7, cluster_id=HERE, owner=OWNER)
