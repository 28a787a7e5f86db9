"""Where reports and depths meet: what is learnt of a topic each tick."""

from __future__ import annotations

from msgspec import structs

from hermes_ray.core.arrivals import with_probe
from hermes_ray.core.estimate import observe
from hermes_ray.core.model import Probe
from hermes_ray.scaler.fleet import Fleet
from hermes_ray.scaler.memory import TopicLearnt
from hermes_ray.scaler.ports import DepthView

__all__ = ["Learning"]


class Learning:
    """Learns from the reports of ``fleet`` and the probes of ``prober``, which it tells where retries wait."""

    def __init__(self, fleet: Fleet, prober: DepthView) -> None:
        self._fleet = fleet
        self._prober = prober
        self._probes: dict[str, tuple[Probe, ...]] = {}
        self._retried: dict[str, int] = {}

    def learn(self, topic: str, past: TopicLearnt, probe: Probe | None, now_s: float) -> TopicLearnt:
        """What is known of ``topic`` with all that was reported until now, and its last probe."""
        roster, interval_s = self._fleet.roster, self._fleet.report_interval_s
        probes = self._probes.get(topic, ())
        if probe is not None:
            probes = self._probes[topic] = with_probe(probes, probe, report_interval_s=interval_s)
        self._tell_of_retries(topic)
        is_unheard = self._fleet.team(topic, now_s).is_unheard
        history = observe(
            past.history,
            probe,
            roster.totals(topic),
            now_s,
            None if is_unheard else roster.arrived(topic, probes, now_s, interval_s),
            report_interval_s=interval_s,
            is_interpolated=True,
            late=roster.take_late(topic),
        )
        return structs.replace(past, history=history)

    def _tell_of_retries(self, topic: str) -> None:
        roster = self._fleet.roster
        retried = roster.counters(topic).settlements.retried
        if retried > self._retried.get(topic, 0):
            self._retried[topic] = retried
            self._prober.retried(topic)
        self._prober.waits_exist(topic, roster.wait_rungs_ms(topic))
