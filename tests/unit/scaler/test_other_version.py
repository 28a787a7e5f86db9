"""A memory that another version wrote: what does not fit this one is left out, and nothing beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest
from msgspec import structs

from hermes_ray.core.effect import Effect
from hermes_ray.core.estimate import History
from hermes_ray.scaler.checkpoint import MAGIC, RECORD, Checkpoint
from hermes_ray.scaler.fitting import Fitting
from hermes_ray.scaler.memory import Memory, TopicLearnt, decode_what_fits, encode, merged
from hermes_ray.scaler.roster import Roster
from hermes_ray.telemetry.figures import TopicCounts
from tests.support.memories import filled, header, whole
from tests.support.reports import report

OLD = filled()
WORKER = "heavy/0a"


def put(*path: Any) -> Callable[[Any], None]:
    """Puts the last of ``path`` where the others lead."""

    def change(plain: Any) -> None:
        *way, last, value = path
        for key in way:
            plain = plain[key]
        plain[last] = value

    return change


def read(change: Callable[[Any], None]) -> tuple[Memory, list[str]]:
    plain = msgspec.msgpack.decode(encode(whole(OLD)))
    change(plain)
    changes, left_out = decode_what_fits(msgspec.msgpack.encode(plain))
    memory = merged([changes])
    assert memory is not None
    return memory, left_out


def topic(**changed: Any) -> Memory:
    return structs.replace(OLD, topics={**OLD.topics, "heavy": structs.replace(OLD.topics["heavy"], **changed)})


def learning(**changed: Any) -> Memory:
    return structs.replace(OLD, learnt={**OLD.learnt, "heavy": structs.replace(OLD.learnt["heavy"], **changed)})


DEATHS_UNKNOWN = structs.replace(OLD.topics["heavy"].counts, deaths=0)
RUNS_UNKNOWN = structs.replace(OLD.topics["heavy"].counters, runs=type(OLD.topics["heavy"].counters.runs)())


@pytest.mark.parametrize(
    ("change", "left_out", "kept"),
    [
        (put("learnt", "heavy", "history", "queue", 7), "learnt.heavy.history", learning(history=History())),
        (put("learnt", "heavy", "history", None), "learnt.heavy.history", learning(history=History())),
        (put("learnt", "heavy", "effect", "ratio", "good"), "learnt.heavy.effect", learning(effect=Effect())),
        (put("learnt", "heavy", "policy", "window", 7), "learnt.heavy.policy", learning(policy=None)),
        (put("learnt", "heavy", 5), "learnt.heavy", structs.replace(OLD, learnt={"light": TopicLearnt()})),
        (put("learnt", 5), "learnt", structs.replace(OLD, learnt={})),
        (
            put("topics", "heavy", "recent_decisions", 0, 0, "then"),
            "topics.heavy.recent_decisions.0",
            topic(recent_decisions=()),
        ),
        (
            put("topics", "heavy", "counts", "deaths", "many"),
            "topics.heavy.counts.deaths",
            topic(counts=DEATHS_UNKNOWN),
        ),
        (put("topics", "heavy", "counts", 3), "topics.heavy.counts", topic(counts=TopicCounts())),
        (
            put("topics", "heavy", "counters", "runs", 1, "long"),
            "topics.heavy.counters.runs",
            topic(counters=RUNS_UNKNOWN),
        ),
        (
            put("topics", "heavy", "counters", "runs", 4, [1, 2, 3]),
            "topics.heavy.counters.runs",
            topic(counters=RUNS_UNKNOWN),
        ),
        (put("header", "owner", "me"), "header.owner", structs.replace(OLD, header=header(owner=None))),
        (put("gone", 5), "gone", OLD),
    ],
)
def test_a_part_that_does_not_fit_is_left_out_and_named(
    change: Callable[[Any], None], left_out: str, kept: Memory
) -> None:
    assert read(change) == (kept, [left_out])


def test_what_is_new_and_unknown_is_no_part_that_does_not_fit() -> None:
    assert read(put("topics", "heavy", "extra", 1)) == (OLD, [])


@pytest.mark.parametrize("change", [put("header", 5), put("header", None)])
def test_without_a_header_it_is_no_memory(change: Callable[[Any], None]) -> None:
    with pytest.raises(ValueError, match="object"):
        read(change)


OTHER_BUCKETS = {"runs": [9, 4.5, 4.5, 0.9, [0, 9, 0]]}


@pytest.mark.parametrize(
    ("key", "value"),
    [("phase", "resting"), ("longest_running_s", None), ("counters", 7), ("counters", OTHER_BUCKETS)],
)
def test_a_worker_whose_last_report_does_not_fit_is_known_and_not_counted_twice(key: str, value: Any) -> None:
    before = OLD.workers[WORKER].report
    assert before is not None

    def change(plain: Any) -> None:
        (worker,) = (worker for worker in plain["workers"] if worker["worker"] == WORKER)
        worker["report"][key] = value

    memory, left_out = read(change)
    assert [name.rpartition(".")[2] for name in left_out] == ["report"]
    assert set(memory.workers) == set(OLD.workers)
    counters = {name: past.counters for name, past in memory.topics.items()}
    roster = Roster(counters, memory.workers.values(), 10.0)
    assert not roster.is_complete("heavy", 10.0), "its report is waited for"
    roster.take(structs.replace(before, seq=before.seq + 1), 11.0)
    assert roster.counters("heavy") == counters["heavy"]
    roster.take(report(WORKER, before.seq + 2, acked=before.counters.settlements.acked + 5), 12.0)
    assert roster.counters("heavy").settlements.acked == counters["heavy"].settlements.acked + 5


def test_what_was_left_out_is_said_and_nothing_is_set_aside(tmp_path: Path) -> None:
    plain = msgspec.msgpack.decode(encode(whole(OLD)))
    plain["learnt"] = {f"topic{n}": 5 for n in range(7)}
    data = msgspec.msgpack.encode(plain)
    checkpoint = Checkpoint(tmp_path / "shop.state")
    checkpoint.path.write_bytes(MAGIC + RECORD.pack(len(data), crc32(data)) + data)
    memory = checkpoint.read()
    assert memory is not None
    assert memory.topics == OLD.topics
    assert checkpoint.warning == (
        f"{checkpoint.path} is of another version, what does not fit this one was left out: "
        "learnt.topic0, learnt.topic1, learnt.topic2, learnt.topic3, learnt.topic4 and 2 more"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["shop.state"]


def test_half_a_list_of_numbers_is_not_kept() -> None:
    fitting = Fitting(())
    with pytest.raises(msgspec.ValidationError):
        fitting.fit([1, "two"], tuple[int, ...])
