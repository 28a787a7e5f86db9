"""A deployment on a real Ray and a real RabbitMQ grows, shrinks and shares the cluster."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.cluster.client import Deployment
from tests.support.live import Cluster, Project, topics_of, wait_until

Status = Callable[[], dict[str, Any]]

BURST = {"handler": "Sync", "options": {"sleep_s": 0.1}, "latency_objective_s": 10, "worker": {"concurrency": 4}}
BURST_COUNT = 1200  # one worker takes 30 s for them: a second one is there before, however slow the machine
STEADY_HZ, STEADY_S, CALM_AFTER_S = 200, 70, 40  # what makes workers start holds the publisher up too


@dataclass(slots=True)
class Day:
    """A deployment through a burst on two topics beside a steady load on a third, as seen twice a second."""

    project: Project
    samples: list[dict[str, Any]] = field(default_factory=list)
    confirmed: dict[str, set[str]] = field(default_factory=dict)
    output: str = ""

    def look(self) -> dict[str, Any]:
        self.samples.append({**topics_of(self.project), "seen_s": time.monotonic()})
        return self.samples[-1]

    def has_grown(self, topic: str) -> bool:
        return any(sample[topic]["workers"]["observed"] >= 2 for sample in self.samples)

    def until(self, true: Callable[[dict[str, Any]], Any], within_s: float, what: str) -> None:
        wait_until(lambda: true(self.look()), within_s, what)


@pytest.fixture(scope="module", autouse=True)
def begun_day(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, broker: LocalBroker, new_vhost: Callable[[], str]
) -> Iterator[Future[Day]]:
    """The day passes while other tests of this module run: most of it is waiting for pools to shrink."""
    vhost = new_vhost()
    project = Project(tmp_path_factory.mktemp("day"), broker.url(vhost), vhost, cluster.environment)
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(live_through, project)


@pytest.fixture
def day(begun_day: Future[Day]) -> Day:
    return begun_day.result()


def live_through(project: Project) -> Day:
    steady = {"handler": "Async", "options": {"sleep_s": 0.02, "fail_ratio": 0.1}, "retry": {"base_delay_s": 2}}
    project.configure(
        {
            "kept": {**BURST, "workers": {"min": 1, "max": 5}},
            "zero": {**BURST, "workers": {"min": 0, "max": 5}},
            "steady": {**steady, "workers": {"min": 1, "max": 2}},
        }
    )
    day = Day(project)
    with project.serving() as serve:
        day.until(lambda now: now["kept"]["workers"]["observed"] == 1, 30, "the minimum is kept without messages")
        assert day.samples[-1]["zero"]["workers"]["target"] == 0
        steady_ids = project.publishing("steady", rate_hz=STEADY_HZ, seconds=STEADY_S)
        # In the background: the steady load is looked at from its first second on.
        burst_ids = {topic: project.publishing(topic, count=BURST_COUNT) for topic in ("kept", "zero")}
        day.until(lambda _: all(map(day.has_grown, burst_ids)), 100, "both pools grow")
        day.confirmed = {topic: ids() for topic, ids in burst_ids.items()}
        day.until(lambda _: all(handled(project, *item) for item in day.confirmed.items()), 100, "both are drained")
        day.until(
            lambda now: (
                now["kept"]["workers"] == {"observed": 1, "starting": 0, "draining": 0, "target": 1}
                and not any(now["zero"]["workers"].values())
            ),
            300,
            "the pools are back at 1 and 0",
        )
        day.confirmed["steady"] = steady_ids()
        day.until(lambda _: handled(project, "steady", day.confirmed["steady"]), 30, "retries succeed")
        day.look()
        once_more = project.publish("zero", count=1)
        day.until(lambda _: handled(project, "zero", once_more), 30, "a message wakes the topic at zero")
        day.confirmed["zero"] |= once_more
        wait_until(lambda: serve.output.count("zero: 0 -> ") == 2, 20, "serve has printed that too")
        day.output = serve.output
    return day


def handled(project: Project, topic: str, ids: set[str]) -> bool:
    return not ids - project.handled(topic).keys()


def observed(status: Status, topic: str) -> int:
    count: int = status()[topic]["workers"]["observed"]
    return count


def test_the_heavy_topic_gets_all_but_the_light_ones_minimum_of_a_full_cluster_and_then_nothing_changes(
    project: Project, status: Status
) -> None:
    seat = {"handler": "Sync", "options": {"sleep_s": 0.2}, "latency_objective_s": 2}
    worker = {"concurrency": 1, "num_cpus": 0, "resources": {"seat": 1}}
    project.configure(
        {
            "light": {**seat, "weight": 1, "worker": worker, "workers": {"min": 1, "max": 20}},
            "heavy": {**seat, "weight": 10, "worker": worker, "workers": {"min": 0, "max": 20}},
        }
    )
    with project.serving():
        first = project.publish("light", count=1500)
        wait_until(lambda: observed(status, "light") == 8, 60, "the light topic fills the empty cluster")
        project.publish("heavy", count=3000)

        def shared() -> bool:
            now = status()
            return now["heavy"]["workers"] == {"observed": 7, "starting": 0, "draining": 0, "target": 7} and now[
                "light"
            ]["workers"] == {"observed": 1, "starting": 0, "draining": 0, "target": 1}

        wait_until(shared, 60, "7 workers are heavy's, 1 is light's")
        since = {topic: state["last_decision"]["at"] for topic, state in status().items()}
        until_s = time.monotonic() + 10
        while time.monotonic() < until_s:
            assert shared(), status()
            time.sleep(0.5)
        assert {topic: state["last_decision"]["at"] for topic, state in status().items()} == since
        assert all(count == 1 for count in project.handled("light").values()), "reclaimed by drain: nothing repeated"
        assert first >= project.handled("light").keys()
        Deployment.find(project.name).stop(kill=True)


def test_a_burst_grows_the_pool_which_drains_it_and_shrinks_to_min_without_repeating_a_message(day: Day) -> None:
    assert max(sample["kept"]["workers"]["observed"] for sample in day.samples) in range(2, 6)
    targets = [sample["kept"]["workers"]["target"] for sample in day.samples]
    assert all(target in range(1, 6) for target in targets if target is not None), "None only before the first tick"
    assert day.project.handled("kept") == dict.fromkeys(day.confirmed["kept"], 1)


def test_a_topic_scales_to_zero_and_back(day: Day) -> None:
    assert day.samples[0]["zero"]["workers"]["observed"] == 0
    assert max(sample["zero"]["workers"]["observed"] for sample in day.samples) in range(2, 6)
    assert day.project.handled("zero") == dict.fromkeys(day.confirmed["zero"], 1)
    assert day.output.count("zero: 0 -> ") == 2
    assert "-> 0 workers: 0 waiting" in day.output


def test_the_arrival_rate_is_seen_within_5_percent_and_retries_are_not_counted(day: Day) -> None:
    started_s = next(s["seen_s"] for s in day.samples if (s["steady"]["held"] or 0) > 0)
    calm = [look for look in day.samples if CALM_AFTER_S < look["seen_s"] - started_s < STEADY_S - 3]
    rates = [sample["steady"]["arrival_rate_hz"] for sample in calm]
    assert len(rates) > 10
    assert statistics.median(rates) == pytest.approx(STEADY_HZ, rel=0.05), rates
    assert day.samples[-1]["steady"]["retried"] > 0.05 * STEADY_HZ * STEADY_S
    assert len(day.confirmed["steady"]) == STEADY_HZ * STEADY_S
    assert set(day.project.attempts("steady")) == {"1", "2"}
