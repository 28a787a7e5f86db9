"""Lighter workers leave for heavier topics that stand at nothing: not at once, and not in vain again and again."""

from __future__ import annotations

import pytest

from tests.support.cluster_scene import Cluster


def one_in_the_way() -> Cluster:
    """Old workers of ``x`` stay, whose new code does not start: beside them is room for ``light`` or for ``heavy``."""
    x = ("topics.x.handler=m:f", "topics.x.worker.num_cpus=1", "topics.heavy.weight=100")
    scene = Cluster(3.0, light=3.0, heavy=2.0, words=x)
    scene.play(15, x=2)
    scene.cpus |= {"n1": 4.0}
    old = set(scene.pool.workers)
    scene.applied(*scene.words, code="new")
    scene.broken = lambda worker: worker.startswith("x") and worker not in old
    return scene


def test_a_lighter_topic_leaves_the_place_of_one_that_stands_at_nothing() -> None:
    """Both were granted one worker, if those of ``x`` could move, whose new code does not start."""
    scene = one_in_the_way()
    scene.play(10, x=2)
    scene.play(60, x=2, light=1, heavy=1)
    assert scene.counts() == (0, 1)
    assert scene.fleet.lack("light") is not None
    started = [worker for worker in scene.pool.started if not worker.startswith("x")]
    scene.play(120, x=2, light=1, heavy=1)
    assert [worker for worker in scene.pool.started if not worker.startswith("x")] == started
    scene.broken = lambda _worker: False
    scene.play(600, x=2, light=1, heavy=1)
    assert scene.counts() == (1, 1)


def test_where_other_work_takes_the_room_that_was_made_no_more_is_made_for_a_while() -> None:
    scene = Cluster(2.0, 2.0, 2.0, 2.0, light=1.0)
    scene.play(15, light=8)
    scene.cpus = dict.fromkeys(scene.cpus, 4.0)
    scene.play(2, light=8, heavy=1)
    (node_id,) = {str(scene.pool.nodes[worker]) for worker in scene.asked_s}
    scene.cpus[node_id] = 2.0
    scene.play(1, light=8, heavy=1)
    scene.cpus[node_id] = 0.0  # a task of others, as soon as the two have gone
    scene.play(45, light=8, heavy=1)
    assert (len(scene.asked_s), scene.counts()) == (2, (8, 0))
    assert scene.fleet.lack("heavy") is not None
    scene.play(60, light=8, heavy=1)
    assert scene.counts() == (8, 1)


def test_a_lighter_topic_leaves_ever_less_often_for_one_that_does_not_start() -> None:
    scene = one_in_the_way()
    stands_still = scene.broken
    scene.broken = lambda worker: worker.startswith("heavy") or stands_still(worker)
    scene.play(10, x=2, light=1)
    scene.play(1800, x=2, light=1, heavy=1)
    left = [worker for worker in scene.asked_s if worker.startswith("light")]
    assert 2 <= len(left) <= 4


@pytest.mark.parametrize(
    "words", [("topics.heavy.weight=50",), ("topics.heavy.weight=1", "topics.heavy.workers.min=1")]
)
def test_old_workers_of_a_roll_out_that_stands_still_leave_for_whom_has_none(words: tuple[str, ...]) -> None:
    """Three large old ones are on both nodes, for four small ones that do not start; ``heavy`` takes a node."""
    scene = Cluster(8.0, 8.0, light=4.0, heavy=8.0, words=words)
    scene.play(15, light=4)
    old = set(scene.pool.workers)
    scene.broken = lambda worker: worker.startswith("light") and worker not in old
    scene.applied(*scene.words, "topics.light.worker.num_cpus=1", code="new")
    scene.play(30, light=4)
    scene.play(100, light=4, heavy=1)
    assert scene.counts()[1] == 0, "the new code may start yet"
    scene.play(100, light=4, heavy=1)
    assert scene.counts()[1] == 1
    assert len(old - scene.asked_s.keys()) >= 1


@pytest.mark.parametrize("has_lacked", [False, True])
def test_who_lacked_for_a_moment_long_ago_does_not_press_at_once(has_lacked: bool) -> None:
    """The one of ``heavy`` fits where that of ``b`` is, which fits where that of ``light`` is: two steps."""
    words = ("topics.heavy.weight=10", "topics.b.handler=m:f", "topics.b.worker.num_cpus=2")
    scene = Cluster(1.0, 5.0, 1.0, 2.0, light=1.0, heavy=4.0, words=words)
    for topic, node_id in (("light", "n3"), ("b", "n1")):
        scene.fleet._force.start(topic, node_id, scene.now_s)
    scene.play(20, light=1, b=1)
    scene.play(5, light=1, b=1, heavy=int(has_lacked))
    assert (scene.fleet.lack("heavy") is not None) is has_lacked
    scene.play(600, light=1, b=1)
    scene.play(15, light=1, b=1, heavy=1)
    assert scene.asked_s == {}
    scene.play(60, light=1, b=1, heavy=1)
    assert scene.counts() == (1, 1)
