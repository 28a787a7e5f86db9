from __future__ import annotations

import msgspec
import pytest

from hermes_ray.core.estimate import History, Learnt, elsewhere, learnt, observe, snapshot
from hermes_ray.core.histogram import BUCKET_COUNT, bucket
from hermes_ray.core.model import Probe, Totals
from tests.support.looks import NOBODY, durations, ready, see, watch


def _working(at_s: float) -> Totals:
    """40/s of 0.5 s each until 300 s, of 0.1 s before 100 s; since the deployment's start."""
    fast, finished = min(40 * at_s, 4_000), int(40 * at_s)
    service = [0] * BUCKET_COUNT
    service[bucket(0.1)], service[bucket(0.5)] = int(fast), int(finished - fast)
    return Totals(
        held_count=20,
        settled_count=finished,
        finished_count=finished,
        busy_s=0.1 * fast + 0.5 * (finished - fast),
        service=tuple(service),
        wait=tuple(service),
    )


def _read_back(history: History) -> History:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(history), type=History)


def test_a_history_is_plain_data_and_small_when_written_down() -> None:
    history = watch(range(300), ready(lambda at_s: 7 * at_s), _working)
    assert _read_back(history) == history
    assert len(msgspec.msgpack.encode(history)) <= 4_000


@pytest.mark.parametrize("report_interval_s", [1.0, 20.0])
def test_a_history_of_hours_with_a_wild_queue_and_all_kinds_of_runs_is_small_too(report_interval_s: float) -> None:
    history = History()
    for second in range(3_000):
        came = 50 * second + int(40 * (second % 600) ** 1.3)
        finished = 20 * second
        kinds = tuple(finished // 40 if 30 <= n < 70 else 0 for n in range(BUCKET_COUNT))
        totals = Totals(settled_count=finished, finished_count=finished, busy_s=2.0 * second, service=kinds, wait=kinds)
        probe = Probe(at_s=float(second), ready_count=came - finished)
        history = observe(history, probe, totals, float(second), report_interval_s=report_interval_s)
    assert len(msgspec.msgpack.encode(history)) <= 4_000


@pytest.mark.parametrize("gap_s", [1, 3, 60])
def test_a_restored_history_relearns_nothing(gap_s: int) -> None:
    """40/s arrive and are handled, 33 wait; nobody looks for a while."""
    before = watch(range(300), ready(lambda _: 33), _working)
    restored = _read_back(before)
    for second in range(299 + gap_s, 299 + gap_s + 90):
        restored = watch(range(second, second + 1), ready(lambda _: 33), _working, restored)
        seen = snapshot(restored, "t", NOBODY, float(second), slot_count=25)
        assert seen.service_rate_hz == pytest.approx(2.0, rel=0.02)
        assert seen.service_p95_s == pytest.approx(0.5, rel=0.19)
        assert seen.arrival_rate_hz == pytest.approx(40.0, rel=0.05)
        assert seen.oldest_age_s == pytest.approx(33 / 40, abs=0.1)
        assert seen.finish_rate_hz == pytest.approx(40.0)
        assert seen.utilisation_ratio == pytest.approx(0.8)
        assert seen.growth_rate_hz == 0.0


def test_after_ten_minutes_without_a_look_the_service_rate_is_still_known() -> None:
    restored = _read_back(watch(range(300), ready(lambda _: 33), _working))
    seen = see(watch(range(900, 901), ready(lambda _: 33), _working, restored), 900.0)
    assert seen.service_rate_hz == pytest.approx(2.0, rel=0.02)
    assert seen.arrival_rate_hz is None


def test_what_was_learnt_elsewhere_stands_in_until_twenty_runs_have_finished() -> None:
    prior = Learnt(service_rate_hz=4.0, service_p95_s=0.3)

    def totals(at_s: float) -> Totals:
        finished = int(at_s)
        return Totals(
            running_count=1,
            longest_running_s=5.0,
            finished_count=finished,
            busy_s=2.0 * finished,
            service=durations(*[2.0] * finished),
        )

    history = watch(range(20), ready(lambda _: 50), totals, elsewhere(prior))
    seen = see(history, 19.0)
    assert (seen.service_rate_hz, seen.service_p95_s) == (4.0, 0.3)
    assert learnt(history) == prior
    seen = see(watch(range(20, 21), ready(lambda _: 50), totals, history), 20.0)
    assert seen.service_rate_hz == pytest.approx(0.5)
    assert seen.service_p95_s == pytest.approx(2.0, rel=0.19)


def test_what_is_learnt_is_what_runs_take_however_few_there_were() -> None:
    assert learnt(History()) is None
    running = watch(range(9), ready(lambda _: 1), lambda at_s: Totals(running_count=1, longest_running_s=at_s))
    assert learnt(running) is None
    history = watch(range(300), ready(lambda _: 33), _working)
    found = learnt(history)
    assert found is not None
    assert found.service_rate_hz == pytest.approx(2.0)
    assert found.service_p95_s == pytest.approx(0.5, rel=0.19)
    rare = watch(range(900), ready(lambda _: 0), lambda at_s: _working(min(at_s, 0.05)))
    assert learnt(rare) is not None
