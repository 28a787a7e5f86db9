from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import structs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.core import Sample
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from hermes_ray.core.conditions import Condition
from hermes_ray.core.histogram import DURATION_BUCKETS_S
from hermes_ray.core.model import Override, Reason, WorkerCounts
from hermes_ray.telemetry.exposition import FiguresCollector
from hermes_ray.telemetry.figures import Figures, TopicCounts
from hermes_ray.telemetry.metric import Metric
from hermes_ray.telemetry.metrics import DEPLOYMENT_METRICS, TOPIC_METRICS
from hermes_ray.telemetry.metrics_page import page
from hermes_ray.worker.counters import Counters, plus
from tests.support.figures import COUNTERS, NEW, ORDERS, SNAPSHOT, figures_of, orders
from tests.support.reports import counters

ALL: tuple[Metric[Any], ...] = (*TOPIC_METRICS, *DEPLOYMENT_METRICS)
GO_HERMES = {
    "queue_worker_count": ("gauge", {"queue_name"}),
    "queue_depth": ("gauge", {"queue_name"}),
    "queue_messages_processed_total": ("counter", {"queue_name", "status"}),
    "queue_message_processing_duration_seconds": ("histogram", {"queue_name"}),
    "queue_scaling_decisions_total": ("counter", {"queue_name", "direction"}),
}


def _registry(made: Figures | None) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(FiguresCollector(lambda: made))
    return registry


def _families(made: Figures | None) -> dict[str, Family]:
    text = generate_latest(_registry(made)).decode()
    return {family.name: family for family in parse(text)}


def _samples(made: Figures | None) -> list[Sample]:
    return [sample for family in _families(made).values() for sample in family.samples]


def _values(samples: Iterable[Sample]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def _value(name: str, made: Figures | None = None, /, **labels: str) -> float | None:
    return _values(_samples(made or figures_of())).get((name, tuple(sorted(labels.items()))))


def test_a_strict_reader_of_either_format_reads_the_same() -> None:
    text = generate_openmetrics(_registry(figures_of())).decode()  # type: ignore[no-untyped-call]
    strict = list(parse_openmetrics(text))  # type: ignore[no-untyped-call]
    plain = _families(figures_of())
    assert {family.name for family in strict} == set(plain)
    assert _values(s for family in strict for s in family.samples) == _values(_samples(figures_of()))
    assert {f.name: (f.type, f.documentation) for f in strict} == {
        f.name: (f.type, f.documentation) for f in plain.values()
    }


def test_before_the_first_cut_there_are_names_without_samples() -> None:
    assert len(_families(None)) == len(ALL)
    assert _samples(None) == []


def test_what_is_unknown_has_no_sample() -> None:
    of_new = {s.name for s in _samples(figures_of(NEW)) if s.labels.get("topic", s.labels.get("queue_name")) == "new"}
    assert not any(math.isnan(sample.value) for sample in _samples(figures_of(NEW)))
    unknown = {"queue_depth", "hermes_held_messages", "hermes_oldest_age_seconds", "hermes_target_workers"}
    unknown |= {"hermes_scaling_effectiveness_ratio", "hermes_worker_throughput_hertz", "hermes_report_lag_seconds"}
    assert not unknown & of_new
    assert {"queue_worker_count", "hermes_wait_seconds_count", "hermes_retries_total", "hermes_stalled"} <= of_new


def test_the_moment_of_the_figures_is_unix_time_whatever_the_scalers_clock_is_ahead() -> None:
    ahead = replace(figures_of(at_s=1_700_000_600.5), clock_offset_s=600.0)
    assert _value("hermes_figures_timestamp_seconds", ahead) == 1_700_000_000.5


def test_workers_of_which_none_consumes_have_no_throughput() -> None:
    gone = orders(snapshot=replace(SNAPSHOT, workers=WorkerCounts(draining=3)))
    assert _value("hermes_worker_throughput_hertz", figures_of(gone), topic="orders") is None


def test_go_hermes_dashboards_find_their_names_labels_and_buckets() -> None:
    served = _families(figures_of(ORDERS))
    for name, (kind, labels) in GO_HERMES.items():
        family = served[name.removesuffix("_total")]
        assert family.type == kind
        assert all(set(sample.labels) - {"le"} == labels for sample in family.samples)
        assert all(sample.labels["queue_name"] == "shop.orders" for sample in family.samples)
    assert _value("queue_worker_count", queue_name="shop.orders") == 16
    assert _value("queue_depth", queue_name="shop.orders") == 412
    assert _value("queue_messages_processed_total", queue_name="shop.orders", status="success") == 1402
    assert _value("queue_messages_processed_total", queue_name="shop.orders", status="error") == 43 + 9 + 6
    assert _value("queue_scaling_decisions_total", queue_name="shop.orders", direction="up") == 18
    assert _value("queue_scaling_decisions_total", queue_name="shop.orders", direction="down") == 15


@pytest.mark.parametrize(
    ("name", "labels", "bounds", "count", "sum_s"),
    [
        (
            "queue_message_processing_duration_seconds",
            {"queue_name": "shop.orders"},
            [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
            1456,
            560.5,
        ),
        ("hermes_wait_seconds", {"topic": "orders"}, [round(0.001 * 4**n, 3) for n in range(14)], 4, 2101.5),
    ],
)
def test_histograms_are_cumulative_with_a_count_and_a_sum(
    name: str, labels: dict[str, str], bounds: list[float], count: int, sum_s: float
) -> None:
    samples = [s for s in _samples(figures_of(ORDERS)) if s.name.startswith(name)]
    buckets = [(float(s.labels["le"]), s.value) for s in samples if s.name == f"{name}_bucket"]
    assert [bound for bound, _ in buckets] == [*bounds, math.inf]
    counts = [number for _, number in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == _value(f"{name}_count", **labels) == count
    assert _value(f"{name}_sum", **labels) == sum_s


def test_a_duration_on_a_bucket_bound_belongs_to_it() -> None:
    runs = structs.replace(COUNTERS.runs, durations=(1,) * (len(DURATION_BUCKETS_S) + 1))
    some = structs.replace(COUNTERS, runs=runs)
    name, labels = "queue_message_processing_duration_seconds_bucket", {"queue_name": "shop.orders"}
    assert _value(name, figures_of(orders(counters=some)), **labels, le="0.001") == 1
    assert _value(name, figures_of(orders(counters=some)), **labels, le="60.0") == 14
    assert _value(name, figures_of(orders(counters=some)), **labels, le="+Inf") == 15


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("hermes_worker_throughput_hertz", {}, 3.25),
        ("hermes_workers", {"state": "starting"}, 5),
        ("hermes_dead_letters_total", {"reason": "attempts"}, 6),
        ("hermes_decisions_total", {"reason": "workers_max"}, 12),
        ("hermes_decisions_total", {"reason": "capacity"}, 0),
        ("hermes_overridden", {"reason": "pinned"}, 1),
        ("hermes_overridden", {"reason": "paused"}, 0),
        ("hermes_saturated", {}, 1),
        ("hermes_stalled", {}, 0),
        ("hermes_growth_rate_hertz", {}, -6.25),
    ],
)
def test_figures_are_found_under_their_names(name: str, labels: dict[str, str], value: float) -> None:
    assert _value(name, topic="orders", **labels) == value


def _figures(*of: Any) -> dict[str, float]:
    """Every number of these dataclasses and structs, by the name of its field."""
    names = {id(one): [f.name for f in fields(one)] if is_dataclass(one) else one.__struct_fields__ for one in of}
    named = {name: getattr(one, name) for one in of for name in names[id(one)]}
    return {name: value for name, value in named.items() if isinstance(value, int | float)}


def test_every_figure_of_a_topic_is_served_and_none_twice() -> None:
    made = figures_of(ORDERS)
    counted = (COUNTERS, COUNTERS.settlements, COUNTERS.runs, ORDERS.counts)
    figures = _figures(made, ORDERS, *counted, ORDERS.snapshot, ORDERS.snapshot.workers) | ORDERS.counts.decisions
    figures["at_s"] = made.at_s
    for internal in ("clock_offset_s", "outdated_count", "single_active"):
        del figures[internal]
    for quantile in ("service_p95_s", "wait_p95_s"):
        del figures[quantile]  # a histogram has it
    figures["finish_rate_hz"] /= ORDERS.snapshot.workers.observed
    assert len(figures) == len(set(figures.values())) > 30, "each figure can be told by its value"
    served = Counter(sample.value for sample in _samples(made) if not sample.name.endswith("_bucket"))
    assert {name: served[value] for name, value in figures.items()} == dict.fromkeys(figures, 1)


def test_labels_are_bounded_whatever_there_is_to_tell() -> None:
    odd = orders(counts=TopicCounts(decisions={"demand": 1, "never heard of": 3}))
    allowed = {
        "topic": {"orders"},
        "queue_name": {"shop.orders"},
        "status": {"success", "error"},
        "direction": {"up", "down"},
        "state": {"observed", "starting", "draining"},
        "reason": {*map(str, Reason), "permanent", "attempts"},
    }
    for sample in _samples(figures_of(odd)):
        labels = {key: value for key, value in sample.labels.items() if key != "le"}
        assert all(value in allowed[key] for key, value in labels.items())
        assert sample.name.startswith("hermes_") or "queue_name" in labels
        assert "queue_name" not in labels or "topic" not in labels


def test_the_number_of_series_does_not_depend_on_load() -> None:
    quiet = orders(counters=Counters(), counts=TopicCounts(), conditions=frozenset(), said=Override())
    assert len(_samples(figures_of(quiet))) == len(_samples(figures_of(ORDERS)))


def test_counters_and_histograms_grow_with_the_sums() -> None:
    later = orders(
        counters=plus(COUNTERS, counters(received=1, busy_s=0.25)),
        counts=TopicCounts(
            probe_failures=8,
            start_failures=10,
            deaths=12,
            ups=19,
            downs=15,
            decisions=ORDERS.counts.decisions | {"demand": 22, "capacity": 1},
        ),
    )
    counts = {m.name.removesuffix("_total") for m in ALL if m.kind != "gauge"}
    before, after = (
        _values(s for name, family in _families(figures_of(topic)).items() if name in counts for s in family.samples)
        for topic in (ORDERS, later)
    )
    assert before.keys() == after.keys()
    assert all(after[key] >= before[key] for key in before)
    assert sum(after.values()) > sum(before.values())


def test_names_follow_the_conventions_of_prometheus() -> None:
    for metric in ALL:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert not re.search(r"_(s|ms|hz|sec|secs|msec|min|minutes|hours|percent|bytes_count)(_|$)", metric.name)
        assert metric.name in GO_HERMES or not re.search(r"_(count|sum|bucket|gauge|counter|info)$", metric.name)
        assert re.fullmatch(r"[A-Z0-9].*\.", metric.help)
    assert len({metric.name for metric in ALL}) == len(ALL)


def test_every_condition_has_a_gauge() -> None:
    names = {metric.name for metric in ALL}
    assert {f"hermes_{condition}" for condition in Condition} <= names


def test_the_page_is_what_the_command_writes() -> None:
    assert (Path(__file__).parents[3] / "docs" / "metrics.md").read_text() == page(), "run `make docs`"


def test_the_page_answers_every_name_of_the_audit() -> None:
    asked = {
        *GO_HERMES,
        "queue_depth_gauge",
        "queue_depth_rate",
        "worker_count_gauge",
        "messages_processed_total",
        "message_processing_duration",
        "worker_throughput",
        "scaling_decisions_total",
        "scaling_effectiveness",
    }
    rows = dict(re.findall(r"^\| `([^`]+)` \| ((?:`[a-z_]+`(?:, )?)+) \|$", page(), re.MULTILINE))
    assert asked <= rows.keys()
    names = {metric.name for metric in ALL}
    assert all(set(re.findall(r"`([a-z_]+)`", here)) <= names for here in rows.values())


def test_the_examples_of_the_page_are_yaml_that_names_real_metrics() -> None:
    scrape, rules = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page(), re.DOTALL))
    assert scrape["scrape_configs"][0]["job_name"] == "hermes"
    alerts = rules["groups"][0]["rules"]
    assert len({alert["alert"] for alert in alerts}) == len(alerts) == len(Condition) + 1
    named = {name for alert in alerts for name in re.findall(r"hermes_\w+", alert["expr"])}
    assert named <= {metric.name for metric in ALL}
