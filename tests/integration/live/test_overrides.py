"""What a person says wins over the policy, and outlives the scaler; what was counted does too."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hermes_ray.cluster.client import Deployment
from tests.support.ledger import ready_count
from tests.support.live import Cluster, Project, actors, wait_until

Status = Callable[[], dict[str, Any]]

WORK = {"handler": "Sync", "options": {"sleep_s": 0.05}, "worker": {"concurrency": 2}, "workers": {"min": 1, "max": 2}}


@pytest.fixture
def deployment(project: Project) -> Iterator[Deployment]:
    """One topic, detached; ended by force if the test has not ended it."""
    project.configure({"work": WORK})
    project.hermes("apply", "config=my.yaml")
    yield Deployment.find(project.name)
    running = Deployment.running(project.name)
    if running is not None:
        running.stop(kill=True)
        running.wait_gone()


def kill_scaler(cluster: Cluster, project: Project) -> None:
    """End it with kill -9, and wait until Ray has started it again."""
    pid = actors(cluster, project.name)["scaler"].pid
    os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        found = actors(cluster, project.name).get("scaler")
        return found is not None and found.pid not in (0, pid)

    wait_until(is_back, 30, "the scaler is back")


def counts(deployment: Deployment) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All counters and histograms of a scrape, read strictly."""
    openmetrics = {"Accept": "application/openmetrics-text; version=1.0.0"}
    request = urllib.request.Request(deployment.status()["metrics_url"], headers=openmetrics)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        if family.type in ("counter", "histogram")
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@pytest.mark.slow
def test_pauses_pins_and_counts_survive_a_killed_scaler_under_load_and_status_shows_the_winner(
    deployment: Deployment, project: Project, cluster: Cluster, status: Status
) -> None:
    def workers() -> dict[str, int]:
        found: dict[str, int] = status()["work"]["workers"]
        return found

    load = project.publishing("work", rate_hz=40, seconds=30)
    wait_until(lambda: status()["work"]["handled"] > 100, 30, "the load is under way")

    before = counts(deployment)
    assert before["queue_messages_processed_total", (("queue_name", "work"), ("status", "success"))] > 100
    kill_scaler(cluster, project)
    deployment = Deployment.find(project.name)
    after = counts(deployment)
    assert before.keys() <= after.keys()
    assert {key: value for key, value in before.items() if after[key] < value} == {}, "no count went back"

    assert "work is paused" in project.hermes("pause", "work", "config=my.yaml").stdout
    wait_until(lambda: not any(workers().values()), 30, "it is drained to 0")
    depth = status()["work"]["depth"]
    wait_until(lambda: (status()["work"]["depth"] or 0) > depth, 20, "its depth is still looked at")
    assert "work is paused" in project.hermes("scale", "work", "3", "config=my.yaml").stdout, "a pause wins over a pin"

    kill_scaler(cluster, project)
    deployment = Deployment.find(project.name)
    state = status()["work"]
    assert (state["override"]["kind"], state["workers"]["target"]) in (("paused", 0), ("paused", None))
    assert state["service_rate_hz"] == pytest.approx(20, rel=0.4), "what was learnt is not forgotten"
    assert "work is paused" in project.hermes("status", "config=my.yaml").stdout

    assert "follows its policy" in project.hermes("resume", "work", "config=my.yaml").stdout
    wait_until(lambda: workers()["observed"] >= 1, 30, "it goes on")
    deployment.override("work", "pin", count=3)
    wait_until(lambda: workers()["observed"] == 3, 30, "a pin may be above workers.max")
    told = project.hermes("apply", "config=my.yaml", "topics.work.weight=2").stdout
    assert "work is pinned to 3 workers" in told, "an apply leaves pins and says so"
    wait_until(lambda: workers()["target"] == 3, 10, "the pin rules")
    Deployment.find(project.name).override("work", "pin", count=1, for_s=1)
    wait_until(lambda: status()["work"]["override"] is None, 10, "a pin ends when its time is over")

    assert "work is stopped" in project.hermes("stop", "work", "config=my.yaml").stdout
    wait_until(lambda: not any(workers().values()), 30, "it is drained")
    told = project.hermes("apply", "config=my.yaml", "topics.work.weight=2").stdout
    assert "topic work starts again" in told
    ids = load()
    wait_until(lambda: not ids - project.handled("work").keys(), 40, "nothing is lost")
    assert all(count == 1 for count in project.handled("work").values()), "nothing repeated"


def test_without_a_scaler_stop_finds_the_workers_by_name_and_drains_them(
    deployment: Deployment, project: Project, cluster: Cluster
) -> None:
    ids = project.publish("work", count=400)
    wait_until(lambda: project.handled("work").total() > 20, 30, "it works")
    ray.kill(ray.get_actor("scaler", namespace=project.name), no_restart=True)
    deployment.wait_gone()
    assert "no scaler" in project.hermes("stop", "config=my.yaml").stdout
    assert not actors(cluster, project.name)
    handled = project.handled("work")
    assert len(handled) + ready_count(project.url, "work") == len(ids), "the others are back in the queue"
    assert set(handled.values()) == {1}
    nobody = project.hermes("stop", "config=my.yaml", check=False)
    assert nobody.returncode == 2
    assert "no deployment" in nobody.stderr


@pytest.mark.usefixtures("ended")
@pytest.mark.slow
def test_without_a_scaler_stop_does_not_call_a_worker_that_stands_still_drained(
    project: Project, cluster: Cluster
) -> None:
    slow = {"handler": "Sync", "options": {"sleep_s": 60.0}, "workers": {"min": 1, "max": 1}}
    project.configure({"work": slow}, drain_timeout_s=2)
    project.hermes("apply", "config=my.yaml")
    project.publish("work", count=1)
    wait_until(lambda: ready_count(project.url, "work") == 0, 30, "it is in a handler")
    ray.kill(ray.get_actor("scaler", namespace=project.name), no_restart=True)
    (pid,) = [actor.pid for name, actor in actors(cluster, project.name).items() if name.startswith("work/")]
    os.kill(pid, signal.SIGSTOP)
    stopped = project.hermes("stop", "config=my.yaml", check=False)
    assert "1 running handler was killed" in stopped.stdout
    assert stopped.returncode == 1
    assert not Path(f"/proc/{pid}").exists()
    wait_until(lambda: ready_count(project.url, "work") == 1, 10, "its message is back in the queue")


def test_stopping_forgets_pauses_and_keeps_what_was_learnt(
    deployment: Deployment, project: Project, status: Status
) -> None:
    project.publish("work", count=60)
    wait_until(lambda: status()["work"]["service_rate_hz"], 30, "a service rate is learnt")
    wait_until(lambda: project.handled("work").total() == 60, 30, "all is handled")
    wait_until(lambda: status()["work"]["handled"] == 60, 10, "and counted")
    learnt = status()["work"]["service_rate_hz"]
    deployment.override("work", "pause")
    assert "every worker drained" in project.hermes("stop", "config=my.yaml").stdout
    project.hermes("apply", "config=my.yaml")
    state = status()["work"]
    assert state["override"] is None
    assert state["service_rate_hz"] == pytest.approx(learnt, rel=0.1)
