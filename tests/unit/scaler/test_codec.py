"""Memories written down as JSON and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_ray.core.age import Queue
from hermes_ray.core.estimate import History
from hermes_ray.core.model import Override, Probe, Reason, Totals
from hermes_ray.core.rate import Counted
from hermes_ray.core.stabilise import Window
from hermes_ray.scaler.codec import from_plain, to_plain
from hermes_ray.scaler.memory import Memory, TopicMemory
from hermes_ray.scaler.roster import Roster
from hermes_ray.worker.counters import Counters
from tests.support.memories import filled, history, read_back, topic_memory

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
COUNTS = st.integers(0, 2**53)
HISTOGRAMS = st.lists(COUNTS, max_size=8).map(tuple)


def through_json(value: Any) -> Any:
    return from_plain(type(value), json.loads(json.dumps(to_plain(value))))


def empty_fields(value: Any, path: str = "memory") -> list[str]:
    """Where a dataclass, or one in its tuples and mappings, holds no more than a default does."""
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in empty_fields(item, f"{path}.{key}")]
    if isinstance(value, tuple):
        return [found for item in value[:1] for found in empty_fields(item, f"{path}[0]")]
    if not is_dataclass(value):
        return [path] if value is None or value == () else []
    return [found for f in fields(value) for found in empty_fields(getattr(value, f.name), f"{path}.{f.name}")]


def test_a_memory_with_something_in_every_field_is_the_same_after_a_trip_through_json() -> None:
    memory = filled(topics={"heavy": topic_memory()})
    assert empty_fields(memory.topics) == [], "else this test sees less than it says"
    again = read_back(memory)
    assert replace(again, workers=()) == replace(memory, workers=())
    assert read_back(again) == again
    assert json.dumps(to_plain(again)) == json.dumps(to_plain(memory))


def test_an_empty_memory_and_one_without_optional_parts_are_the_same_after_a_trip_through_json() -> None:
    for memory in (Memory(generation=0, cluster_id=""), filled(owner=None, stop_by_s=None, workers=())):
        assert read_back(memory) == memory


@pytest.mark.parametrize("seconds", [1, 2, 11, 75, 76, 300])
def test_a_history_of_any_length_is_the_same_after_a_trip_through_json(seconds: int) -> None:
    assert through_json(history(seconds)) == history(seconds)


def test_workers_read_back_are_those_that_were_written_with_all_they_had_said() -> None:
    memory = filled()
    before, after = (Roster({}, m.workers, 50.0) for m in (memory, read_back(memory)))
    assert [record.worker for record in after.all()] == ["heavy/0a", "light/0b"]
    assert [record.counters for record in after.all()] == [record.counters for record in before.all()]
    assert after.all()[0].base == before.all()[0].base
    assert after.totals("heavy") == before.totals("heavy")


@given(
    st.builds(
        History,
        probe=st.none()
        | st.builds(Probe, at_s=NUMBERS, ready_count=COUNTS, retrying_count=COUNTS, dead_count=st.none() | COUNTS),
        arrived=st.lists(
            st.builds(Counted, at_s=NUMBERS, count=NUMBERS, finished_count=COUNTS, lag_s=NUMBERS), max_size=3
        ).map(tuple),
        arrival_rate_hz=st.none() | NUMBERS,
        queue=st.builds(Queue, points=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3).map(tuple)),
        totals=st.none() | st.builds(Totals, finished_count=COUNTS, busy_s=NUMBERS, service=HISTOGRAMS),
    )
)
def test_numbers_large_small_and_missing_survive_a_trip_through_json(made: History) -> None:
    assert through_json(made) == made


@given(
    st.builds(
        Override,
        stopped=st.booleans(),
        paused=st.booleans(),
        pinned_count=st.none() | COUNTS,
        pinned_until_s=st.none() | NUMBERS,
    ),
    st.builds(Counters, acked=COUNTS, busy_s=NUMBERS, durations=HISTOGRAMS),
    st.builds(Window, since_s=st.none() | NUMBERS, peaks=st.lists(st.tuples(NUMBERS, COUNTS), max_size=3).map(tuple)),
    st.dictionaries(st.text(), COUNTS, max_size=3),
)
def test_what_people_said_what_was_counted_and_what_binds_survive_a_trip_through_json(
    override: Override, counters: Counters, window: Window, decisions: dict[str, int]
) -> None:
    made = TopicMemory(override=override, retired=counters, decisions=decisions)
    assert through_json(made) == made
    assert through_json(window) == window


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    reason: Reason


def test_an_enum_is_written_as_its_text_and_another_text_is_refused() -> None:
    assert to_plain(Said(reason=Reason.PAUSED)) == {"reason": "paused"}
    assert through_json(Said(reason=Reason.PAUSED)) == Said(reason=Reason.PAUSED)
    with pytest.raises(ValueError, match="asleep"):
        from_plain(Said, {"reason": "asleep"})


def test_keys_nobody_knows_are_ignored_wherever_they_are() -> None:
    tree = to_plain(filled())
    tree |= {"version": 1, "newer": [1]}
    tree["topics"]["heavy"] |= {"mood": "good"}
    tree["topics"]["heavy"]["history"] |= {"smell": None}
    assert from_plain(Memory, json.loads(json.dumps(tree))) == read_back(filled())


def test_fields_that_an_older_version_did_not_write_get_their_defaults() -> None:
    tree = to_plain(filled())
    del tree["stop_by_s"], tree["topics"]["heavy"]["effect"]
    memory = from_plain(Memory, json.loads(json.dumps(tree)))
    assert memory.stop_by_s is None
    assert memory.topics["heavy"] == replace(topic_memory(), effect=TopicMemory().effect)


Tree = dict[str, Any]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tree: tree.pop("generation"),
        lambda tree: tree.update(generation="7"),
        lambda tree: tree.update(generation=7.5),
        lambda tree: tree.update(cluster_id=None),
        lambda tree: tree.update(saved_s="late"),
        lambda tree: tree.update(topics=[]),
        lambda tree: tree.update(workers={}),
        lambda tree: tree.update(owner="me"),
        lambda tree: tree["owner"].pop("key"),
        lambda tree: tree["topics"].update(heavy=None),
        lambda tree: tree["topics"]["heavy"].update(decisions={"demand": None}),
        lambda tree: tree["topics"]["heavy"]["override"].update(paused="yes"),
        lambda tree: tree["topics"]["heavy"]["history"].update(arrived=[[1.0, 2.0]]),
        lambda tree: tree["topics"]["heavy"]["history"]["queue"].update(points=[[1.0]]),
        lambda tree: tree["topics"]["heavy"]["retired"].update(service="many"),
        lambda tree: tree["policy"]["topics"]["heavy"]["window"].update(peaks=[["a", 1]]),
    ],
)
def test_what_does_not_fit_is_refused(spoil: Callable[[Tree], Any]) -> None:
    tree = json.loads(json.dumps(to_plain(filled())))
    spoil(tree)
    with pytest.raises((ValueError, TypeError)):
        from_plain(Memory, tree)


@pytest.mark.parametrize("tree", [None, [], "memory", 7])
def test_a_tree_of_another_shape_is_refused(tree: Any) -> None:
    with pytest.raises(ValueError, match=r"where .* was written"):
        from_plain(Memory, tree)
