"""Old workers leave for new ones: nobody in vain, and who waits says so."""

from __future__ import annotations

import pytest

from hermes_ray.scaler import making_way
from tests.support.cluster_scene import Cluster


def test_smaller_old_workers_go_as_larger_new_ones_work_not_before() -> None:
    """Six of 1 CPU fill the node, two of 3 CPU will: three leave for the first, the others once it has shown itself."""
    scene = Cluster(6.0, light=1.0)
    scene.play(20, light=6)
    old = set(scene.pool.workers)
    scene.applied("topics.light.worker.num_cpus=3", code="new")
    scene.mute = lambda worker: worker not in old
    scene.play(600, light=6)
    assert len(old - scene.asked_s.keys()) == 3
    scene.mute = lambda _worker: False
    scene.play(60, light=6)
    assert scene.counts() == (2, 0)
    assert not old & set(scene.pool.workers)


def test_many_small_workers_give_way_to_few_large_ones_place_by_place() -> None:
    scene = Cluster(30.0, 30.0, light=1.0)
    scene.play(20, light=60)
    old = set(scene.pool.workers)
    scene.applied("topics.light.worker.num_cpus=3", code="new")
    since_s: dict[str, float] = {}
    for _ in range(180):
        scene.play(1, light=60)
        since_s |= {w: scene.now_s for w in scene.pool.workers if w not in old and w not in since_s}
        shown = sum(scene.now_s > at_s for at_s in since_s.values())
        left = len(old - scene.asked_s.keys())
        assert left / 3 + shown >= 20 - 1, "one goes to make room for a first one"
    assert scene.counts() == (20, 0)
    assert not old & set(scene.pool.workers)


def test_old_workers_beyond_one_for_each_place_make_room_for_whom_it_was_granted() -> None:
    """Two nodes of 4 CPUs: of 8 small ones the room of one large one is left to the topic, a node goes to the other."""
    scene = Cluster(4.0, 4.0, light=1.0, words=("topics.heavy.weight=10",))
    scene.play(20, light=8)
    old = set(scene.pool.workers)
    scene.applied("topics.light.worker.num_cpus=3", code="new")
    scene.mute = lambda worker: worker.startswith("light") and worker not in old
    scene.play(120, light=8, heavy=1)
    assert scene.counts()[1] == 1
    assert old - scene.asked_s.keys()


def test_workers_that_still_start_when_their_size_changes_hold_what_they_were_started_with() -> None:
    scene = Cluster(4.0, light=2.0)
    scene.play(15, light=1)
    first = set(scene.pool.workers)
    scene.mute = lambda worker: worker not in first
    scene.play(3, light=2)
    (loading,) = set(scene.pool.workers) - first
    scene.mute = lambda worker: worker == loading
    scene.applied("topics.light.worker.num_cpus=1", code="new")
    scene.play(60, light=2)
    assert {scene.pool.sizes[worker]["CPU"] for worker in scene.pool.workers} == {1.0}
    assert scene.counts() == (2, 0)
    assert scene.fleet.start_error("light") is None


def test_a_topic_that_lacks_a_granted_worker_is_rolled_out_all_the_same() -> None:
    """Its second one would fit if one of ``light`` could move, whose new code does not start."""
    scene = Cluster(3.0, light=1.0, heavy=2.0)
    scene.play(15, light=2)
    scene.cpus |= {"n1": 2.0}
    scene.play(20, light=2, heavy=1)
    scene.cpus |= {"n2": 1.0}
    old = set(scene.pool.workers)
    scene.applied(*scene.words, code="new")
    scene.broken = lambda worker: worker.startswith("light") and worker not in old
    scene.play(120, light=2, heavy=2)
    assert [worker for worker in old if worker in scene.pool.workers and worker.startswith("heavy")] == []
    assert scene.counts() == (2, 1)
    assert scene.fleet.lack("heavy") is not None


def test_a_roll_out_that_finds_no_way_says_so() -> None:
    """A place on n1 takes two moves: c to n2, then b to n0."""
    sizes = ("topics.a.handler=m:f", "topics.c.handler=m:f", "topics.c.worker.num_cpus=1")
    scene = Cluster(3.0, light=1.0, heavy=3.0, words=(*sizes, "topics.a.worker.num_cpus=2"))
    scene.play(15, a=1, c=1)
    scene.cpus |= {"n1": 4.0}
    scene.play(15, a=1, c=1, heavy=1)
    scene.cpus |= {"n2": 1.0}
    scene.applied(*scene.words, "topics.a.worker.num_cpus=4")
    scene.play(30, a=1, c=1, heavy=1)
    assert (
        scene.fleet.lack("a") == "no node for a new worker, whoever of the old ones left; the roll-out waits for room"
    )
    assert [line for line in scene.lines if line.startswith("a: ")] == [f"a: {scene.fleet.lack('a')}"]


def test_those_who_wait_for_room_leave_the_search_for_it_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two heavier topics whose room was taken; a lighter one, on a node of its own, rolls at once."""
    monkeypatch.setattr(making_way, "_WHAT_IF_WORK", 0)  # two searches a look, as among a thousand topics
    said = ("handler=m:f", "weight=10", "worker.resources.n0=1", "worker.num_cpus=1")
    heavier = tuple(f"topics.{topic}.{word}" for topic in ("h0", "h1") for word in said)
    scene = Cluster(4.0, 4.0, words=(*heavier, "topics.light.worker.resources.n1=1"))
    scene.play(15, h0=2, h1=2, light=4)
    old = set(scene.pool.workers)
    scene.applied(*scene.words, *(f"topics.{topic}.worker.num_cpus=0.9" for topic in ("h0", "h1", "light")))
    scene.play(1, h0=2, h1=2, light=4)
    assert sorted(worker.partition("/")[0] for worker in scene.asked_s) == ["h0", "h1"]
    scene.play(1, h0=2, h1=2, light=4)
    scene.cpus["n0"] = 2.0
    scene.play(60, h0=2, h1=2, light=4)
    assert {worker.partition("/")[0] for worker in old & set(scene.pool.workers)} == {"h0", "h1"}


def test_a_second_apply_in_the_middle_of_a_roll_out_to_another_size_goes_through() -> None:
    """Of twelve of 1 CPU some are of 2 CPU when new code comes: old ones of both sizes leave for it."""
    scene = Cluster(12.0, light=1.0)
    scene.play(20, light=12)
    scene.words = (*scene.words, "topics.light.worker.num_cpus=2")
    scene.applied(*scene.words, code="new")
    while sum(scene.pool.sizes[worker]["CPU"] == 2.0 for worker in scene.pool.workers) < 3:
        scene.play(1, light=12)
    before = set(scene.pool.workers)
    scene.applied(*scene.words, code="newer")
    scene.play(150, light=12)
    assert not before & set(scene.pool.workers)
    assert scene.counts() == (6, 0)


def test_an_old_worker_leaves_where_others_have_to_move_for_the_new_one() -> None:
    """Nobody old is in its way, but ``heavy`` is, and has a place on n1."""
    scene = Cluster(2.5, light=0.1, heavy=1.0)
    scene.play(15, light=1, heavy=1)
    scene.cpus |= {"n1": 1.0}
    scene.words = (*scene.words, "topics.light.worker.num_cpus=2")
    scene.applied(*scene.words)
    scene.play(30, light=1, heavy=1)
    assert {scene.pool.sizes[worker]["CPU"] for worker in scene.pool.workers} == {1.0, 2.0}
    assert scene.counts() == (1, 1)


@pytest.mark.parametrize("gpus", [(), ("topics.light.worker.resources.n0=100",)])
def test_old_workers_stay_whatever_fits_of_them_into_a_new_one(gpus: tuple[str, ...]) -> None:
    """Each node takes two old or one new one, or a new one takes what is there once; the new code is broken."""
    scene = Cluster(4.0, 4.0, 4.0, 4.0, light=2.0)
    scene.play(20, light=8)
    old = set(scene.pool.workers)
    scene.broken = lambda worker: worker not in old
    scene.applied(*scene.words, *(gpus or ("topics.light.worker.num_cpus=3",)), code="new")
    scene.play(120, light=8)
    assert len(old - scene.asked_s.keys()) == (7 if gpus else 6)


def test_room_that_is_there_for_a_moment_costs_no_worker() -> None:
    """Six are kept, since one of 7 CPU has no place; for one look there is one."""
    scene = Cluster(6.0, light=1.0)
    scene.play(20, light=6)
    scene.applied(*scene.words, "topics.light.worker.num_cpus=7")
    scene.play(20, light=6)
    for cpus, seconds in ((8.0, 1), (6.0, 60)):
        scene.cpus["n0"] = cpus
        scene.play(seconds, light=6)
    assert scene.counts() == (6, 0)
    scene.cpus["n0"] = 8.0
    scene.play(60, light=6)
    assert scene.counts() == (1, 0)


def test_nor_does_it_where_others_are_granted_what_the_kept_ones_hold() -> None:
    scene = Cluster(3.0, 0.0, light=1.0, heavy=1.0, words=("topics.light.worker.resources.n0=1",))
    scene.play(20, heavy=3)
    scene.applied(*scene.words, "topics.heavy.worker.num_cpus=4")
    scene.play(20, heavy=3, light=3)
    for cpus, seconds in ((4.0, 1), (0.0, 60)):
        scene.cpus["n1"] = cpus
        scene.play(seconds, heavy=3, light=3)
    assert scene.counts() == (0, 3)


def test_those_who_wait_for_their_turn_are_not_told_that_there_is_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making_way, "_WHAT_IF_WORK", 0)
    topics = [f"t{n}" for n in range(40)]
    cpus = {topic: f"topics.{topic}.worker.num_cpus" for topic in topics}
    bound = [f"topics.{t}.{word}" for n, t in enumerate(topics) for word in ("handler=m:f", f"worker.resources.n{n}=1")]
    scene = Cluster(*[4.0] * 40, words=(*bound, *(f"{key}=1" for key in cpus.values())))
    wanted = dict.fromkeys(topics, 4)
    scene.play(15, **wanted)
    old = set(scene.pool.workers)
    scene.applied(*scene.words, *(f"{key}=2" for key in cpus.values()))
    scene.play(18, **wanted)
    assert old & set(scene.pool.workers)
    assert scene.lines == []


def test_however_many_find_no_way_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five heavier ones ask in turn, two at each look, and might again after two looks; x stands in the way of each."""
    monkeypatch.setattr(making_way, "_WHAT_IF_WORK", 0)
    monkeypatch.setattr(making_way, "_WHAT_IF_AGAIN_S", 2.0)
    pairs = [(f"h{n}", f"x{n}") for n in range(5)]
    words = [f"topics.{t}.{word}" for pair in pairs for t in pair for word in ("handler=m:f", "worker.num_cpus=1")]
    scene = Cluster(
        light=1.0, words=(*words, "topics.light.worker.resources.z=1", *(f"topics.{h}.weight=9" for h, _ in pairs))
    )
    wanted: dict[str, int] = {}
    for n, (heavy, other) in enumerate(pairs):
        scene.cpus[f"p{n}"] = 2.0
        wanted |= {heavy: 1, other: 1}
        scene.play(3, **wanted)
    scene.cpus["z"] = 2.0
    scene.play(15, **wanted, light=2)
    scene.cpus |= {f"q{n}": 1.0 for n in range(5)}
    old = set(scene.pool.workers)
    scene.broken = lambda worker: worker.startswith("x") and worker not in old
    scene.applied(
        *scene.words, *(f"topics.{h}.worker.num_cpus=2" for h, _ in pairs), "topics.light.worker.num_cpus=2", code="new"
    )
    scene.play(60, **wanted, light=2)
    assert not [worker for worker in old & set(scene.pool.workers) if worker.startswith("light")]
    assert [worker for worker in old & set(scene.pool.workers) if worker.startswith("h")]


def test_a_place_that_others_made_is_not_kept_for_one_that_is_granted_none_any_more() -> None:
    scene = Cluster(0.0, 0.0, 1.0, light=1.0, heavy=1.0)
    scene.play(15, light=1)
    scene.cpus |= {"n0": 2.0, "n1": 2.0}
    scene.play(15, light=1, heavy=4)
    scene.cpus |= {"n0": 4.0, "n1": 4.0}
    scene.applied(*scene.words, "topics.light.worker.num_cpus=4")
    scene.play(2, light=1, heavy=4)
    assert len(scene.asked_s) == 2, "of heavy, on one node"
    scene.play(100, light=1, heavy=8)
    assert scene.counts() == (1, 8)


def test_old_ones_and_others_leave_together_where_both_stand_in_the_way() -> None:
    """Each new one of 4 CPU takes a node of two old ones and two of ``x``, which have room on the other nodes."""
    x = ("topics.x.handler=m:f", "topics.x.worker.num_cpus=1")
    scene = Cluster(2.0, 2.0, light=1.0, heavy=1.0, words=x)
    scene.play(15, x=4)
    scene.cpus |= {"n0": 4.0, "n1": 4.0}
    scene.play(15, x=4, light=4)
    scene.cpus |= {"n2": 3.0, "n3": 3.0}
    scene.play(15, x=4, light=10)
    scene.cpus |= {"n4": 2.0, "n5": 2.0}
    scene.applied(*scene.words, "topics.light.worker.num_cpus=4")
    scene.play(30, x=4, light=10)
    assert {scene.pool.sizes[worker]["CPU"] for worker in scene.pool.workers} == {1.0, 4.0}
    assert scene.counts() == (1, 0)


@pytest.mark.parametrize("is_good", [True, False])
@pytest.mark.parametrize("before_s", [0, 1])
def test_no_old_worker_leaves_where_another_topic_is_about_to_leave_room(is_good: bool, before_s: int) -> None:
    scene = Cluster(2.0, light=1.0, heavy=1.0)
    scene.play(15, light=1, heavy=1)
    old = {worker for worker in scene.pool.workers if worker.startswith("light")}
    scene.broken = lambda worker: worker.startswith("light") and worker not in old and not is_good
    scene.play(before_s, light=1)
    scene.applied(*scene.words, code="new")
    scene.play(1, light=1)
    assert old <= set(scene.pool.workers) - scene.asked_s.keys()
    scene.play(60, light=1)
    assert scene.counts() == (1, 0)
    assert (old <= set(scene.pool.workers)) is not is_good
