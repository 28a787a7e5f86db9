"""What ``hermes status`` is made of, where it is more than a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hermes_ray.config.loading import load
from hermes_ray.core.model import WorkerCounts
from hermes_ray.scaler.plan import Plan
from hermes_ray.scaler.status_rows import former_row, rules_alone
from hermes_ray.telemetry.figures import Figures
from tests.support.figures import ORDERS, SNAPSHOT

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
