"""What the scaler counts of a topic over the deployment's life, brought up to date once a tick."""

from __future__ import annotations

from msgspec import structs

from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.memory import TopicMemory
from hermes_ray.scaler.ports import DepthView

__all__ = ["Tally"]


class Tally:
    """Adds what ``fleet`` and ``prober`` have counted since the last look to the memory of a topic."""

    def __init__(self, fleet: Fleet, prober: DepthView) -> None:
        self._fleet = fleet
        self._prober = prober
        self._failed_probes: dict[str, int] = {}

    def brought_up(self, topic: str, memory: TopicMemory, wait_rungs_ms: tuple[int, ...]) -> TopicMemory:
        """The memory of ``topic`` as of now, the same one if nothing was counted: a change is written to disk."""
        failed_probes, before = self._prober.failure_count(topic), self._failed_probes.get(topic, 0)
        self._failed_probes[topic] = failed_probes
        new = {
            "probe_failures": failed_probes - before,
            "start_failures": self._fleet.failed_starts.pop(topic, 0),
            "deaths": self._fleet.deaths.pop(topic, 0),
        }
        counts, counters = memory.counts, self._fleet.roster.counters(topic)
        if any(new.values()):
            counts = structs.replace(counts, **{name: getattr(counts, name) + count for name, count in new.items()})
        is_same = counts is memory.counts and counters is memory.counters and memory.wait_rungs_ms == wait_rungs_ms
        if is_same:
            return memory
        return structs.replace(memory, counts=counts, counters=counters, wait_rungs_ms=wait_rungs_ms)
