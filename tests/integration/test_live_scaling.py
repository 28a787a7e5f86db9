"""A deployment on a real Ray and a real RabbitMQ grows, shrinks and shares the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hermes_ray.runtime.deployment import Deployment
from tests.live import Project, wait_until

Status = Callable[[], dict[str, Any]]


def observed(status: Status, topic: str) -> int:
    count: int = status()[topic]["workers"]["observed"]
    return count


def all_handled(project: Project, topic: str, ids: set[str]) -> Callable[[], bool]:
    return lambda: not ids - project.handled(topic).keys()


def test_a_burst_grows_the_pools_which_drain_it_and_shrink_again_to_min_and_to_zero_and_back(
    project: Project, status: Status
) -> None:
    busy = {"handler": "Sync", "options": {"sleep_s": 0.1}, "latency_objective_s": 10, "worker": {"concurrency": 4}}
    project.configure(
        {
            "kept": {**busy, "workers": {"min": 1, "max": 5}},
            "zero": {**busy, "workers": {"min": 0, "max": 5}},
        }
    )
    with project.serving() as serve:
        wait_until(lambda: observed(status, "kept") == 1, 30, "the minimum is kept without messages")
        assert status()["zero"]["workers"]["target"] == 0
        ids = {topic: project.publish(topic, count=700) for topic in ("kept", "zero")}
        wait_until(lambda: all(observed(status, topic) >= 2 for topic in ids), 30, "both grow")
        for topic, published in ids.items():
            wait_until(all_handled(project, topic, published), 60, f"{topic} is drained")
            assert status()[topic]["workers"]["target"] <= 5

        def settled() -> bool:
            now = status()
            return now["kept"]["workers"]["target"] == 1 == now["kept"]["workers"]["observed"] and not any(
                now["zero"]["workers"].values()
            )

        wait_until(settled, 110, "the pools are back at 1 and 0")
        for topic, published in ids.items():
            assert project.handled(topic) == dict.fromkeys(published, 1), "scaling in repeated no message"
        last = status()["zero"]["last_decision"]
        assert (last["to"], last["reason"]) == (0, "demand")
        assert time.time() - last["at"] < 30
        again = project.publish("zero", count=1)
        wait_until(all_handled(project, "zero", again), 30, "a message wakes the topic at zero")
        assert "zero: 0 -> 1 worker" in serve.output


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


def test_the_arrival_rate_is_seen_within_5_percent_and_retries_are_not_counted(
    project: Project, status: Status
) -> None:
    project.configure(
        {
            "steady": {
                "handler": "Async",
                "options": {"sleep_s": 0.02, "fail_ratio": 0.1},
                "retry": {"base_delay_s": 2},
            }
        }
    )
    with project.serving():
        seen: list[float] = []
        publishing = project.hermes_in_background("publish", "topic=steady", "rate_hz=200", "seconds=45")
        until_s = time.monotonic() + 40
        started_s = time.monotonic()
        while time.monotonic() < until_s:
            rate_hz = status()["steady"]["arrival_rate_hz"]
            if rate_hz is not None and time.monotonic() - started_s > 25:
                seen.append(rate_hz)
            time.sleep(0.5)
        assert publishing.wait(60) == 0
        assert len(seen) > 10
        assert all(190 <= rate_hz <= 210 for rate_hz in seen), seen
        state = status()["steady"]
        assert state["retried"] > 400
        assert state["workers"]["observed"] >= 1
        wait_until(lambda: project.handled("steady").total() == 9000, 60, "retries succeed")
        assert set(project.attempts("steady")) == {"1", "2"}
