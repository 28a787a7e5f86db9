"""What the next scaler goes on from: under the same plan, a later one, on another cluster, and from nothing."""

from __future__ import annotations

import pytest
from msgspec import structs

from hermes_ray.core.estimate import elsewhere, learnt
from hermes_ray.core.model import Override
from hermes_ray.scaler.memory import (
    Changes,
    Header,
    Memory,
    TopicLearnt,
    TopicMemory,
    decode,
    encode,
    merged,
    policy_state,
    recalled,
    without_overrides,
)
from hermes_ray.scaler.plan import Owner, Plan
from tests.support.fleet_scene import config
from tests.support.memories import OWNER, PIN, PRIOR, filled, header, history, topic_learnt, topic_memory, whole

NEXT = Owner(key="two", label="hermes apply, pid 8 on here", stays=False)
HERE = "this one"


def plan(generation: int = 7, *words: str) -> Plan:
    owner = OWNER if generation == 7 else NEXT
    return Plan(config=config(*words), concurrency={"light": 4, "heavy": 4}, generation=generation, owner=owner)


def test_what_is_written_is_read_back_with_something_in_every_field() -> None:
    memory = filled()
    assert merged([decode(encode(whole(memory)))]) == memory


def test_changes_are_put_together_in_order() -> None:
    memory = filled()
    later = Changes(
        header=header(generation=8),
        topics={"light": topic_memory()},
        learnt={"new": TopicLearnt()},
        workers=[structs.replace(memory.workers["light/0b"], failed=True)],
        gone=["heavy/0a"],
        forgotten=["heavy"],
    )
    now = merged([whole(memory), later])
    assert now is not None
    assert now.header == header(generation=8)
    assert now.topics == {"light": topic_memory()}
    assert set(now.learnt) == {"light", "new"}
    assert [(worker.worker, worker.failed) for worker in now.workers.values()] == [("light/0b", True)]
    former = Changes(header=header(), workers=[structs.replace(memory.workers["light/0b"], worker="light/0c")])
    assert merged([later, former, whole(memory)]) == memory, "a whole memory takes the place of all before"
    assert merged([]) is None


def test_a_scaler_restarted_under_the_same_plan_goes_on_from_everything() -> None:
    stopped = topic_memory(override=Override(stopped=True))
    memory = filled(topics={"heavy": stopped, "light": TopicMemory()})
    assert recalled(memory, plan(), HERE) == memory


def test_who_took_over_without_a_change_still_owns_it_after_a_restart() -> None:
    """Ray hands a restarted scaler the plan of the apply that changed something last."""
    memory = recalled(filled(header=header(owner=NEXT)), plan(), HERE)
    assert memory.header.owner == NEXT


def test_under_a_later_plan_all_but_the_stop_order_and_stopped_topics_is_kept_and_the_plans_owner_owns() -> None:
    stopped = structs.replace(topic_memory(), override=Override(stopped=True, paused=True, pinned_count=3))
    memory = filled(topics={"heavy": stopped, "light": TopicMemory()})
    now = recalled(memory, plan(8), HERE)
    assert (now.header.generation, now.header.owner, now.header.stop_by_s) == (8, NEXT, None)
    assert now.topics["heavy"] == structs.replace(stopped, override=Override(paused=True, pinned_count=3))
    assert (now.workers, now.header.anchor) == (memory.workers, memory.header.anchor)
    assert {topic: past.history for topic, past in now.learnt.items()} == {
        topic: past.history for topic, past in memory.learnt.items()
    }


@pytest.mark.parametrize(
    ("past", "stop_by_s", "target"),
    [
        (topic_memory(), None, 4),
        (topic_memory(override=Override(stopped=True)), None, None),
        (topic_memory(left_out_since_s=9.5), None, None),
        (topic_memory(), 120.25, None),
    ],
)
def test_under_a_later_plan_only_who_was_at_work_has_a_target(
    past: TopicMemory, stop_by_s: float | None, target: int | None
) -> None:
    memory = filled(header=header(stop_by_s=stop_by_s), topics={"heavy": past})
    assert policy_state(recalled(memory, plan(8), HERE)).target("heavy") == target
    assert policy_state(recalled(memory, plan(7), HERE)).target("heavy") == 4, "restarted it goes on"


@pytest.mark.parametrize(
    "said", [Override(paused=True), Override(pinned_count=20), Override(pinned_count=0, pinned_until_s=5e9), PIN]
)
def test_pauses_and_pins_survive_a_restart_and_an_apply(said: Override) -> None:
    memory = filled(topics={"heavy": topic_memory(override=said)})
    for generation in (7, 8):
        assert recalled(memory, plan(generation), HERE).topics["heavy"].override == said


def test_on_another_cluster_only_what_handling_a_message_takes_is_known() -> None:
    for generation in (7, 8):
        now = recalled(filled(), plan(generation), "another")
        rate = learnt(history())
        assert rate is not None
        assert rate.service_rate_hz == pytest.approx(2.0)
        expected = Header(
            generation=generation, cluster_id="another", owner=plan(generation).owner, anchor=header().anchor
        )
        assert now == Memory(
            header=expected, learnt={"heavy": TopicLearnt(history=elsewhere(rate)), "light": TopicLearnt()}
        )


def test_what_was_learnt_elsewhere_is_still_known_on_a_third_cluster_although_nothing_ran_on_the_second() -> None:
    memory = filled(learnt={"heavy": TopicLearnt(history=elsewhere(PRIOR))})
    assert recalled(memory, plan(), "a third").learnt["heavy"].history == elsewhere(PRIOR)


@pytest.mark.parametrize("generation", [7, 8])
def test_topics_that_are_not_configured_any_more_are_kept_for_their_return(generation: int) -> None:
    memory = filled(
        topics={"heavy": topic_memory(), "gone": topic_memory()},
        learnt={"heavy": topic_learnt(), "gone": topic_learnt()},
    )
    assert set(recalled(memory, plan(generation), HERE).topics) == {"heavy", "gone"}
    assert set(recalled(memory, plan(generation), "another").learnt) == {"heavy", "gone"}


def test_workers_of_topics_that_are_not_configured_any_more_are_remembered_to_be_drained() -> None:
    now = recalled(filled(topics={"gone": topic_memory()}), plan(8), HERE)
    assert list(now.workers) == ["heavy/0a", "light/0b"]


def test_the_end_of_a_deployment_takes_what_people_said_and_leaves_what_was_counted() -> None:
    (ended,) = without_overrides({"heavy": topic_memory()}).values()
    assert ended == topic_memory(override=Override())


def test_without_a_memory_everything_starts_from_nothing() -> None:
    assert recalled(None, plan(), HERE) == Memory(header=Header(generation=7, cluster_id=HERE, owner=OWNER))


def test_what_is_written_as_everything_takes_the_place_of_all_before() -> None:
    emptied = whole(Memory(header=header(generation=8)))
    assert merged([whole(filled()), emptied]) == Memory(header=header(generation=8))


def test_a_file_that_is_nested_too_deeply_is_a_damaged_one() -> None:
    data = b"\x82\xa6header\x80\xa1x" + 50_000 * b"\x91" + b"\xc0"  # {header: {}, x: [[[...None...]]]}
    with pytest.raises(ValueError, match="nested too deeply"):
        decode(data)
