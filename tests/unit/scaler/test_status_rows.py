"""What ``hermes status`` is made of, where it is more than a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hermes_ray.config.loading import load
from hermes_ray.core.model import Override, WorkerCounts
from hermes_ray.scaler.plan import Plan
from hermes_ray.scaler.record import new_record
from hermes_ray.scaler.status_rows import former_row, override_row, rules_alone, topic_rows, worker_row
from hermes_ray.telemetry.figures import Figures, PastDecision
from tests.support.figures import ORDERS, SNAPSHOT, figures_of, orders
from tests.support.reports import report

WORKING = replace(ORDERS, outdated_count=0, start_error=None)
NOBODY = replace(WORKING, snapshot=replace(SNAPSHOT, workers=WorkerCounts(observed=0, starting=2, draining=0)))


def has_copy(environment: Mapping[str, Any]) -> bool:
    return "working_dir" in environment


def test_a_plan_has_worked_once_its_workers_work_and_no_others_are_left() -> None:
    def works(**topics: Any) -> bool:
        return rules_alone(Figures(at_s=0.0, tick_s=0.1, topics=topics))

    assert works(a=WORKING)
    assert works(a=WORKING, b=NOBODY)
    assert not works(a=NOBODY)
    assert not works(a=WORKING, b=replace(WORKING, outdated_count=1))
    assert not works(a=WORKING, b=replace(NOBODY, start_error="no"))
    assert not works()
    assert not rules_alone(None)


def test_a_rollback_is_offered_only_where_there_is_a_copy_of_the_code() -> None:
    config = load(None, ["topics.a.handler=m:f", "broker.url=amqp://h"])
    former = Plan(config=config, concurrency={"a": 4}, generation=99_000, applied_at=5.0, code="0123456789ab")
    assert former_row(None, has_copy) is None
    assert former_row(former, has_copy) is None
    kept = replace(former, environment={"working_dir": "gcs://_ray_pkg_1.zip"})
    assert former_row(kept, has_copy) == {"applied_at": 5.0, "code": "0123456789ab"}


def test_what_people_read_of_a_clock_that_is_ahead_is_wall_time() -> None:
    decided = PastDecision(at_s=980.0, before=1, target=3, reason="demand", limiters=(), text="1 -> 3 workers")
    said = Override(pinned_count=3, pinned_until_s=1_600.0)
    seen = replace(SNAPSHOT, at_s=1_000.0)
    row = topic_rows(figures_of(orders(snapshot=seen, said=said, last_decision=decided)), ahead_s=250.0)["orders"]
    assert row["override"] == {"kind": "pinned", "count": 3, "until": 1_350.0}
    assert row["last_decision"]["at"] == 730.0
    assert override_row(said, 1_599.0, ahead_s=250.0) == row["override"], "until when it is, that clock says"
    assert override_row(said, 1_601.0, ahead_s=250.0) is None


def test_a_workers_last_report_is_as_old_as_its_last_word_of_whatever_version() -> None:
    record = new_record("orders/0a", 100.0)
    assert worker_row(record, False, None, 105.0)["report_age_s"] is None
    record.hear(report("orders/0a"), 101.0, 1.0)
    record.heard_s = 103.0
    row = worker_row(record, False, None, 105.0)
    assert (row["age_s"], row["report_age_s"]) == (5.0, 2.0)
