"""What ``hermes status`` shows; the keys are an interface: they are only added to."""

from __future__ import annotations

from typing import Any

from hermes_ray.broker.depth import ProbeFailure
from hermes_ray.core.histogram import quantile
from hermes_ray.core.model import Decision, Snapshot
from hermes_ray.runtime.crew import Crew

__all__ = ["status_of"]


def status_of(
    seen: Snapshot, crew: Crew, last: Decision | None, target: int | None, failure: ProbeFailure | None
) -> dict[str, Any]:
    """One topic's part of ``hermes status --json``; unknown is None. ``failure``: why its last depth probe failed."""
    workers = seen.workers
    return {
        "depth": seen.ready_count,
        "held": seen.held_count,
        "retrying": seen.retrying_count,
        "arrival_rate_hz": seen.arrival_rate_hz,
        "service_rate_hz": seen.service_rate_hz,
        "wait_p95_s": seen.wait_p95_s,
        "workers": {
            "observed": workers.observed,
            "starting": workers.starting,
            "draining": workers.draining,
            "target": target,
        },
        "last_decision": None
        if last is None
        else {
            "at": last.at_s,
            "from": last.before,
            "to": last.target,
            "reason": str(last.reason),
            "text": last.text,
        },
        "waits": _waits(crew.roster.totals(seen.topic).wait),
        "start_error": crew.start_error(seen.topic),
        "depth_error": None if failure is None else failure.text,
        **crew.roster.settled(seen.topic),
    }


def _waits(counts: tuple[int, ...]) -> dict[str, float | None]:
    """Quantiles of all waits since the start, of workers that are gone too."""
    return {f"p{percent}_s": quantile(counts, percent / 100) for percent in (50, 95, 99)}
