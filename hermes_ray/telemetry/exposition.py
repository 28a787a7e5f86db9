"""The figures as text for a scraper, made in pieces between which a tick goes first.

A thousand topics are a hundred thousand lines, a second of pure Python. A tick is pure Python in another thread of the
same process: without these pauses the two take turns, and a tick of 0.4 s takes 0.7 s.
"""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Sample
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from hermes_ray.telemetry.figures import Figures
from hermes_ray.telemetry.metric import Buckets, Metric
from hermes_ray.telemetry.metrics import DEPLOYMENT_METRICS, TOPIC_METRICS

__all__ = ["Exposition", "FiguresCollector"]

WAITED_S = 4.0  # in all of one scrape, whose patience is 10 s; a tick that hangs must not hide that it does
FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
Headers = list[tuple[str, str]]


class Exposition:
    """Renders what ``figures`` returns; ``idle`` is cleared while a tick runs.

    The text of the same figures in the same format is made once, however many ask; one text is made at a time.
    """

    def __init__(self, figures: Callable[[], Figures | None], idle: threading.Event) -> None:
        self._figures = figures
        self._way = _Way(idle)
        self._registry = CollectorRegistry()
        self._registry.register(FiguresCollector(lambda: self._shown, self._way.give))
        self._lock = threading.Lock()
        self._shown: Figures | None = None
        self._made: dict[tuple[str, bool], bytes] = {}

    def render(self, accept: str, names: Sequence[str], *, packed: bool) -> tuple[Headers, bytes]:
        """The headers and the text for an ``Accept`` header; of the metrics called ``names``, if there are any.

        ``packed``: with gzip.
        """
        encode, kind = choose_encoder(accept)
        headers = [("Content-Type", kind), *([("Content-Encoding", "gzip")] if packed else [])]
        with self._lock:
            self._way.start()
            self._way.give()
            if (figures := self._figures()) is not self._shown:
                self._shown, self._made = figures, {}
            if names:
                return headers, _packed(encode(self._registry.restricted_registry(names)), packed)
            if (kind, packed) not in self._made:
                text = self._made.get((kind, False)) or encode(self._registry)
                self._made[kind, packed] = _packed(text, packed)
            return headers, self._made[kind, packed]


def _packed(text: bytes, packed: bool) -> bytes:
    return gzip.compress(text) if packed else text


class _Way:
    """Lets ticks go first, for ``WAITED_S`` in all since ``start``."""

    def __init__(self, idle: threading.Event) -> None:
        self._idle = idle
        self._left_s = 0.0

    def start(self) -> None:
        self._left_s = WAITED_S

    def give(self) -> None:
        """Wait while a tick runs."""
        if not self._idle.is_set() and self._left_s > 0:
            began_s = time.monotonic()
            self._idle.wait(self._left_s)
            self._left_s -= time.monotonic() - began_s


class FiguresCollector(Collector):
    """All metrics of the figures there are at each scrape; before the first ones they have no samples.

    ``give_way`` is called before the samples of each topic are made.
    """

    def __init__(self, figures: Callable[[], Figures | None], give_way: Callable[[], None] = lambda: None) -> None:
        self._figures = figures
        self._give_way = give_way

    def collect(self) -> Iterator[Family]:
        figures = self._figures()
        topics = list(figures.topics.values()) if figures else []
        for metric in TOPIC_METRICS:
            yield _lazy_family(metric, topics, self._give_way)
        for scalar in DEPLOYMENT_METRICS:
            yield _lazy_family(scalar, [figures] if figures else [], self._give_way)

    def describe(self) -> Iterator[Family]:
        """The metrics there are: without them a scrape could not ask for some by name."""
        yield from map(_family, TOPIC_METRICS)
        yield from map(_family, DEPLOYMENT_METRICS)


class _Samples:
    """The samples of one metric, a topic's at a time as they are asked for, ticks first."""

    def __init__(self, metric: Metric[Any], entities: Iterable[Any], give_way: Callable[[], None]) -> None:
        self._metric = metric
        self._entities = entities
        self._give_way = give_way

    def __iter__(self) -> Iterator[Sample]:
        metric, one = self._metric, _family(self._metric)
        for entity in self._entities:
            self._give_way()
            labels = [entity.queue if label == "queue_name" else entity.topic for label in metric.labels[:1]]
            _add(one, labels, metric.read(entity))
            yield from one.samples
            one.samples.clear()


def _lazy_family(metric: Metric[Any], entities: Iterable[Any], give_way: Callable[[], None]) -> Family:
    family: Family = _family(metric)
    family.samples = cast("list[Sample]", _Samples(metric, entities, give_way))  # it is only iterated over
    return family


def _family(metric: Metric[Any]) -> Any:
    return FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels, unit=metric.unit)


def _add(family: Any, labels: list[str], value: Any) -> None:
    if isinstance(value, Buckets):
        family.add_metric(labels, _cumulative(value), value.sum_s)
    elif isinstance(value, Mapping):
        for key, number in value.items():
            family.add_metric([*labels, key], number)
    elif value is not None:
        family.add_metric(labels, value)


def _cumulative(buckets: Buckets) -> list[tuple[str, float]]:
    bounds = [*map(floatToGoString, buckets.bounds_s), "+Inf"]
    return list(zip(bounds, accumulate(buckets.counts or (0,) * len(bounds)), strict=True))
