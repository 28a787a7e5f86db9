"""Which part of what was learnt is written when, where there are many topics."""

from __future__ import annotations

from msgspec import structs

from hermes_ray.core.policy import TopicState
from hermes_ray.scaler.clock import Anchor
from hermes_ray.scaler.memory import Header, TopicLearnt, TopicMemory, decode
from hermes_ray.scaler.memory_writer import MemoryWriter
from hermes_ray.scaler.roster import Roster
from tests.support.scaler_world import FakeStore

TOPICS = {f"topic_{n}": TopicMemory() for n in range(300)}


class Deployment:
    """300 topics that are written once a second."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.writer = MemoryWriter(self.store, lambda: Anchor(at_s=0.0), stopwatch=lambda: 0.0)
        self.learnt = dict.fromkeys(TOPICS, TopicLearnt())
        self.now_s = 0.0
        self.write()

    def write(self) -> set[str]:
        """The topics of which it was written what was learnt."""
        self.now_s += 1
        self.writer.write(Header(), TOPICS, self.learnt, Roster(), self.now_s)
        return set(decode(self.store.records[-1]).learnt)


def test_what_was_learnt_of_many_topics_is_written_in_turns_of_ten_seconds() -> None:
    deployment = Deployment()
    turns = [deployment.write() for _ in range(10)]
    assert set().union(*turns) == TOPICS.keys()
    assert max(map(len, turns)) == 31


def test_a_topic_whose_target_changed_is_written_at_once_and_once() -> None:
    deployment = Deployment()
    for _ in range(3):
        deployment.write()
    late = min(deployment.write())
    changed = structs.replace(TopicLearnt(), policy=TopicState(target=4))
    deployment.learnt[late] = changed
    assert late in deployment.write()
    assert late not in deployment.write()


def test_a_topic_that_was_left_out_is_written_at_once_when_it_is_back() -> None:
    deployment = Deployment()
    last = list(TOPICS)[-1]
    past = deployment.learnt.pop(last)
    deployment.write()
    deployment.learnt[last] = past
    assert last in deployment.write()
