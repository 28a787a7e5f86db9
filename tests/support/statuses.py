"""What ``Deployment.status`` answers, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hermes_ray.cli.record import Recording

__all__ = ["TOPICS", "a_record", "pinned", "state", "status_of"]

TOPICS = ("fast", "slow", "mixed")


def state(
    *, depth: int | None = 0, held: int | None = 0, observed: int = 1, decided: float | None = None, **changed: Any
) -> dict[str, Any]:
    """A topic's part; ``decided``: when its last decision was, of a topic that has had one."""
    decision = {"at": decided, "from": 1, "to": 3, "reason": "demand", "text": "1 -> 3 workers: 40 waiting"}
    return {
        "depth": depth,
        "held": held,
        "retrying": 0,
        "arrival_rate_hz": 12.0,
        "service_rate_hz": None,
        "wait_p95_s": 0.5,
        "workers": {"observed": observed, "starting": 0, "draining": 0, "target": 3},
        "workers_max": 7,
        "last_decision": None if decided is None else decision,
        "waits": {"p50_s": 0.1, "p95_s": 0.51234, "p99_s": None},
        "override": None,
        "conditions": [],
        "start_error": None,
        "depth_error": None,
        "retried": 2,
        "dead_lettered": 1,
        **changed,
    }


def pinned(count: int) -> dict[str, Any]:
    """An override of that kind."""
    return {"kind": "pinned", "count": count, "until": None}


def status_of(topics: Mapping[str, Any], **changed: Any) -> dict[str, Any]:
    """The whole answer."""
    head = {"stopping": False, "driver": "alive", "owner": "serve on host", "generation": 7, "started_at": 900.0}
    return {**head, "applied_at": 880.0, "metrics_url": None, "warnings": [], **changed, "topics": topics}


def a_record(**one: Any) -> Recording:
    """A minute of ``TOPICS``, all of them like ``one``, that began at 1,000 s."""
    record = Recording(TOPICS, zero_s=1_000.0)
    for second in range(60):
        record.add(status_of({topic: state(**one) for topic in TOPICS}), 1_000.0 + second)
    return record
