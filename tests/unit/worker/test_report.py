"""What goes over the wire from worker to scaler."""

from __future__ import annotations

import msgspec
import pytest

from hermes_ray.core.histogram import BUCKET_COUNT
from hermes_ray.worker.counters import Counters, plus, since
from hermes_ray.worker.report import REPORT_VERSION, Phase, UnknownReport, decode, encode
from tests.support.reports import counters, flat, report

BUSY = counters(
    received=10**9,
    acked=10**9,
    retried=10**7,
    dead_lettered_permanent=10**7,
    dead_lettered_attempts=10**7,
    given_back=10**7,
    stale=10**7,
    reconnects=10**6,
    finished=10**9,
    finished_s=1e9,
    busy_s=1e9,
    wait_s=1e9,
    service=(2**31,) * BUCKET_COUNT,
    wait=(2**31,) * BUCKET_COUNT,
    durations=(2**31,) * 15,
)


def test_a_report_comes_back_as_it_went() -> None:
    said = report("orders/0a1b2c3d", 7, phase=Phase.DRAINING, held=3, acked=5, lost_reason="403", wait_rungs_ms=(1000,))
    assert decode(encode(said)) == said
    assert (flat(said)["held"], flat(said)["acked"], flat(said)["phase"]) == (3, 5, "draining")


def test_counters_that_were_written_before_a_counter_was_added_are_read_as_what_they_were() -> None:
    """Files and living workers of the release before: their arrays are shorter, and in the order of that time."""
    buckets = [5, *[0] * (BUCKET_COUNT - 1)]
    runs = [1, 2.0, 3.0, 4.0, buckets, [], [7] * 15]
    older = {"settlements": [1, 2, 3, 4, 5, 6, 7], "runs": runs, "reconnects": 8}
    assert msgspec.convert(older, Counters) == counters(
        received=1,
        given_back=2,
        acked=3,
        retried=4,
        dead_lettered_permanent=5,
        dead_lettered_attempts=6,
        stale=7,
        finished=1,
        finished_s=2.0,
        busy_s=3.0,
        wait_s=4.0,
        service=tuple(buckets),
        wait=(),
        durations=(7,) * 15,
        reconnects=8,
    )


def test_the_largest_report_of_a_long_life_is_below_two_kilobytes() -> None:
    said = report("t" * 100 + "/0a1b2c3d", 10**9, node_id="f" * 56, lost_reason="x" * 200, wait_rungs_ms=(1,) * 30)
    said = msgspec.structs.replace(said, counters=BUSY, revision="a" * 12, settings="b" * 12)
    assert len(encode(said)) < 2_048


@pytest.mark.parametrize("version", [0, 2, REPORT_VERSION + 1])
def test_a_report_of_another_version_says_who_lives_and_no_more(version: int) -> None:
    data = msgspec.msgpack.encode({"worker": "a/0a1b2c3d", "version": version, "counters": "otherwise"})
    assert decode(data) == UnknownReport(worker="a/0a1b2c3d", version=version)


@pytest.mark.parametrize(("at", "size"), [(4, 1), (4, BUCKET_COUNT - 1), (5, BUCKET_COUNT + 1), (6, 14)])
def test_a_report_whose_histograms_have_other_buckets_says_who_lives_and_no_more(at: int, size: int) -> None:
    """Added to ours it would fail each tick, for all topics."""
    plain = msgspec.msgpack.decode(encode(report("a/0a1b2c3d", acked=5)))
    plain["counters"]["runs"][at] = [1] * size
    said = UnknownReport(worker="a/0a1b2c3d", version=REPORT_VERSION)
    assert decode(msgspec.msgpack.encode(plain)) == said
    plain["counters"]["runs"][at] = []
    assert decode(msgspec.msgpack.encode(plain)) != said, "none stands for all zeros"


@pytest.mark.parametrize("data", [b"", b"\xff", msgspec.msgpack.encode({"version": REPORT_VERSION}), b"\x93\x01"])
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="this is no report"):
        decode(data)


def test_counters_add_and_differ_field_by_field_and_never_fall_below_nothing() -> None:
    assert plus(Counters(), BUSY) == BUSY
    assert since(BUSY, BUSY).settlements.acked == 0
    assert since(Counters(), counters(acked=3, busy_s=1.5)) == counters(service=(), wait=(), durations=())
    twice = plus(BUSY, BUSY)
    assert (twice.settlements.acked, twice.runs.service[3], twice.reconnects) == (2 * 10**9, 2**32, 2 * 10**6)
    assert since(twice, BUSY) == BUSY
