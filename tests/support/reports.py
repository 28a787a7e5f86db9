"""Reports as workers send them, with the numbers a test cares about."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from hermes_ray.broker.settlement_counts import SettlementCounts
from hermes_ray.core.histogram import BUCKET_COUNT, DURATION_BUCKETS_S, bucket
from hermes_ray.worker.counters import Counters, RunCounts
from hermes_ray.worker.report import Phase, Report

SETTLEMENTS = frozenset(SettlementCounts.__struct_fields__)
RUNS = frozenset(RunCounts.__struct_fields__)


def histogram(*values_s: float) -> tuple[int, ...]:
    """The histogram of these durations."""
    counts = [0] * BUCKET_COUNT
    for value_s in values_s:
        counts[bucket(value_s)] += 1
    return tuple(counts)


def counters(**counted: Any) -> Counters:
    """Counters by their bare names, whoever counts them."""
    runs: dict[str, Any] = {
        "service": histogram(),
        "wait": histogram(),
        "durations": (0,) * (len(DURATION_BUCKETS_S) + 1),
    }
    runs |= {name: counted.pop(name) for name in RUNS & set(counted)}
    settlements = {name: counted.pop(name) for name in SETTLEMENTS & set(counted)}
    return Counters(settlements=SettlementCounts(**settlements), runs=RunCounts(**runs), **counted)


def report(worker: str, seq: int = 1, **said: Any) -> Report:
    """A report of a consuming worker that has done nothing, but for what is ``said``, counters by their bare names."""
    names = SETTLEMENTS | RUNS | {"reconnects"}
    counted = counters(**{name: said.pop(name) for name in names & set(said)})
    whole: dict[str, Any] = {"phase": "consuming", "node_id": "node", "concurrency": 4, "prefetch": 4, "pid": 1} | said
    for short in ("held", "running", "killed"):
        if short in whole:
            whole[f"{short}_count"] = whole.pop(short)
    return Report(worker=worker, seq=seq, counters=counted, **(whole | {"phase": Phase(whole["phase"])}))


def flat(said: Report) -> dict[str, Any]:
    """A report as one mapping, counters and counts of messages by their bare names."""
    counted = said.counters
    short = {name.removesuffix("_count"): value for name, value in structs.asdict(said).items() if name != "counters"}
    return (
        short | structs.asdict(counted.settlements) | structs.asdict(counted.runs) | {"reconnects": counted.reconnects}
    )
