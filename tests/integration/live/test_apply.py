"""Applying to a running deployment under load: nothing is lost, nothing is learnt anew."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hermes_ray.cluster.client import Deployment
from hermes_ray.errors import HermesError
from hermes_ray.scaler.checkpoint import Checkpoint, checkpoint_path
from tests.support.ledger import queue_exists
from tests.support.live import Cluster, Project, Serve, actors, wait_until
from tests.support.patience import PATIENCE

Status = Callable[[], dict[str, Any]]

WORK = {"handler": "Sync", "options": {"sleep_s": 0.05}, "worker": {"concurrency": 4}, "workers": {"min": 2, "max": 2}}


def pids(cluster: Cluster, project: Project) -> dict[str, int]:
    return {name: actor.pid for name, actor in actors(cluster, project.name).items() if name != "scaler"}


def consuming(status: Status, topic: str) -> int:
    count: int = status()[topic]["workers"]["observed"]
    return count


class Watch:
    """Looks ten times a second how many workers of a topic consume."""

    def __init__(self, project: Project, topic: str) -> None:
        self.least = 10**9
        self._project, self._topic = project, topic
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            running = Deployment.running(self._project.name)
            if running is not None:
                with contextlib.suppress(Exception):
                    self.least = min(self.least, running.status()["topics"][self._topic]["workers"]["observed"])


@pytest.mark.usefixtures("ended")
def test_under_load_live_keys_change_at_once_and_new_code_rolls_in_with_nothing_lost_or_learnt_anew(
    project: Project, cluster: Cluster, status: Status
) -> None:
    project.configure({"work": WORK})
    with project.serving() as serve:
        wait_until(lambda: consuming(status, "work") == 2, 30, "two workers consume")
        load = project.publishing("work", rate_hz=60, seconds=32)
        wait_until(lambda: status()["work"]["handled"] > 300, 30, "the load is under way")
        first, learnt = pids(cluster, project), status()["work"]["service_rate_hz"]

        done = project.hermes("apply", "config=my.yaml", "topics.work.weight=5", "topics.work.retry.base_delay_s=3")
        assert "changed topics.work.weight: 1.0 -> 5.0 (live)" in done.stdout
        assert "changed topics.work.retry.base_delay_s: 1.0 -> 3.0 (live)" in done.stdout
        assert pids(cluster, project) == first, "no worker was restarted"
        assert serve.process.wait(PATIENCE * 20) == 0
        assert "superseded by hermes apply" in serve.output
        settled = status()["work"]
        assert settled["service_rate_hz"] == pytest.approx(learnt, rel=0.2)
        assert settled["handled"] > 300

        again = project.hermes("apply", "config=my.yaml", "topics.work.weight=5", "topics.work.retry.base_delay_s=3")
        assert "no change" in again.stdout
        assert pids(cluster, project) == first

        handlers = project.directory / "handlers.py"
        handlers.write_text(handlers.read_text() + "\nVERSION = 2\n")
        counted, rates = [status()["work"]["handled"]], []
        with Watch(project, "work") as watch:
            rolled = project.hermes("apply", "config=my.yaml")
            assert "changed the code (rolling)" in rolled.stdout
            assert "changed topics.work.weight: 5.0 -> 1.0 (live)" in rolled.stdout

            def has_rolled() -> bool:
                now = status()["work"]
                counted.append(now["handled"])
                rates.append(now["service_rate_hz"])
                return not pids(cluster, project).keys() & first.keys() and now["workers"]["draining"] == 0

            wait_until(has_rolled, 60, "all workers are of the new code")
        assert watch.least >= 2, "new first: there were never fewer than before"
        assert counted == sorted(counted), "counts go on over the hand-over"
        assert all(rate == pytest.approx(learnt, rel=0.3) for rate in rates), rates
        assert status()["work"]["outdated"] == 0
        ids = load()
        wait_until(lambda: not ids - project.handled("work").keys(), 30, "nothing is lost")
        assert all(count == 1 for count in project.handled("work").values()), "replaced by drain: nothing repeated"


@pytest.mark.usefixtures("ended")
def test_what_cannot_work_is_refused_in_a_sentence_and_nothing_is_touched(
    project: Project, cluster: Cluster, status: Status
) -> None:
    project.configure({"work": WORK})
    project.hermes("apply", "config=my.yaml")
    before, generation = pids(cluster, project), Deployment.find(project.name).status()["generation"]
    load = project.publishing("work", rate_hz=50, seconds=8)
    (project.directory / "broken.py").write_text("raise RuntimeError('not in this version')\n")
    refused = project.hermes("apply", "config=my.yaml", "topics.work.handler=broken:handle", check=False)
    assert refused.returncode == 1
    assert "not in this version" in refused.stderr
    assert "Traceback" not in refused.stderr
    for word, said in (
        ("state_dir=/proc/nowhere", "nothing was applied: state_dir is '/proc/nowhere', where the scaler cannot write"),
        ("topics.work.worker.num_cpus=500", "takes 500 CPU, which no node has"),
    ):
        refused = project.hermes("apply", "config=my.yaml", "topics.work.queue=other", word, check=False)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused
        assert said in refused.stderr
    assert not queue_exists(project.url, "other"), "what is refused declares nothing"
    assert pids(cluster, project) == before
    assert Deployment.find(project.name).status()["generation"] == generation
    ids = load()
    wait_until(lambda: not ids - project.handled("work").keys(), 30, "nothing is lost")
    assert status()["work"]["outdated"] == 0


@pytest.mark.usefixtures("ended")
def test_on_a_full_cluster_workers_are_replaced_one_at_a_time(
    project: Project, cluster: Cluster, status: Status
) -> None:
    seat = {"concurrency": 1, "num_cpus": 0, "resources": {"seat": 4}}
    project.configure({"work": {**WORK, "worker": seat, "workers": {"min": 2, "max": 2}}})
    project.hermes("apply", "config=my.yaml")
    wait_until(lambda: consuming(status, "work") == 2, 30, "two workers fill the cluster")
    before = pids(cluster, project)
    load = project.publishing("work", rate_hz=20, seconds=10)
    with Watch(project, "work") as watch:
        assert "roll=true (rolling)" in project.hermes("apply", "config=my.yaml", "roll=true").stdout
        wait_until(
            lambda: not pids(cluster, project).keys() & before.keys() and consuming(status, "work") == 2,
            60,
            "both are replaced",
        )
    assert watch.least >= 1, "one at a time"
    ids = load()
    wait_until(lambda: not ids - project.handled("work").keys(), 30, "nothing is lost")
    assert "no change" in project.hermes("apply", "config=my.yaml").stdout, "a roll-out is forced once"


@pytest.mark.usefixtures("ended")
def test_a_topic_added_starts_and_one_removed_drains_while_its_queue_stays(
    project: Project, cluster: Cluster, status: Status
) -> None:
    project.configure({"old": WORK, "kept": WORK})
    project.hermes("apply", "config=my.yaml")
    kept = {name for name in pids(cluster, project) if name.startswith("kept/")}
    project.configure({"kept": WORK, "new": WORK})
    done = project.hermes("apply", "config=my.yaml")
    assert "topic new starts" in done.stdout
    assert "topic old drains and is left out; its queue stays" in done.stdout
    ids = project.publish("new", count=20)
    wait_until(lambda: not ids - project.handled("new").keys(), 30, "the new topic works")
    wait_until(lambda: not any(name.startswith("old/") for name in pids(cluster, project)), 30, "the old one is gone")
    assert kept <= pids(cluster, project).keys(), "the third one did not notice"
    assert queue_exists(project.url, "old")
    assert sorted(status()) == ["kept", "new"]


def test_two_deployments_side_by_side_are_named_and_leave_each_other_alone(
    project: Project, cluster: Cluster, status: Status
) -> None:
    project.configure({"work": WORK})
    other = f"{project.name}-other"
    with project.serving() as serve, project.serving(f"deployment.name={other}", "topics.work.queue=work2") as second:
        wait_until(lambda: consuming(status, "work") == 2, 30, "the first one is up")
        first, late = (Deployment.find(name).status() for name in (project.name, other))
        assert (first["metrics_url"] is None, late["metrics_url"]) == (False, None)
        assert f"metrics.port {project.metrics_port} is taken" in late["warnings"][0]
        second.wait_for(f"also on this cluster: {project.name}", 10)
        assert f"also on this cluster: {other}" in project.hermes("status", f"deployment.name={project.name}").stdout
        assert second.end() == 0
        assert serve.process.poll() is None
        ids = project.publish("work", count=20)
        wait_until(lambda: not ids - project.handled("work").keys(), 30, "the first one works on")
        assert serve.end() == 0
    assert not actors(cluster, other)


@pytest.mark.usefixtures("ended")
@pytest.mark.slow
def test_a_deployment_whose_checkpoint_is_another_clusters_is_not_started(
    project: Project, cluster: Cluster, status: Status
) -> None:
    project.configure({"work": WORK}, state_dir=str(project.directory / "state"))
    of_another_cluster = Checkpoint(checkpoint_path(str(project.directory / "state"), [project.url], project.name))
    with contextlib.closing(of_another_cluster):
        of_another_cluster.claim()
        refused = project.hermes("apply", "config=my.yaml", check=False)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert f"deployment {project.name} was not started: {of_another_cluster.path} belongs to" in refused.stderr
        assert "another deployment.name" in refused.stderr
        wait_until(lambda: not actors(cluster, project.name), 10, "nothing was started")
    project.hermes("apply", "config=my.yaml")
    with pytest.raises(BlockingIOError):
        of_another_cluster.claim()
    wait_until(lambda: consuming(status, "work") == 2, 30, "it was started once the other was gone")


@pytest.mark.usefixtures("ended")
@pytest.mark.slow
def test_a_restarted_scaler_whose_checkpoint_was_taken_meanwhile_works_on_without_and_says_so(
    project: Project, cluster: Cluster, status: Status
) -> None:
    project.configure({"work": WORK}, state_dir=str(project.directory / "state"))
    project.hermes("apply", "config=my.yaml")
    of_another_cluster = Checkpoint(checkpoint_path(str(project.directory / "state"), [project.url], project.name))

    def warnings() -> str:
        with contextlib.suppress(HermesError):
            return "; ".join(Deployment.find(project.name).status()["warnings"])
        return ""

    before = pids(cluster, project)
    with contextlib.closing(of_another_cluster):
        os.kill(actors(cluster, project.name)["scaler"].pid, signal.SIGKILL)
        of_another_cluster.claim(tries=100)
        wait_until(lambda: "another Ray cluster" in warnings(), 40, "the scaler says whose its checkpoint is")
        assert pids(cluster, project) == before
        ids = project.publish("work", count=20)
        wait_until(lambda: not ids - project.handled("work").keys(), 30, "it works on")
    wait_until(lambda: not warnings() and consuming(status, "work") == 2, 20, "it has its checkpoint again")


def test_the_latest_serve_owns_the_deployment_and_the_one_before_it_leaves_it_running(
    project: Project, status: Status
) -> None:
    project.configure({"work": WORK})
    with project.serving() as first:
        wait_until(lambda: consuming(status, "work") == 2, 30, "two workers consume")
        second = Serve(project, ["config=my.yaml"])
        try:
            assert first.process.wait(PATIENCE * 40) == 0
            assert re.search(r"superseded by hermes serve, pid \d+ on ", first.output)
            second.wait_for("no change", 20)
            assert Deployment.find(project.name).status()["driver"] == "alive"
            assert consuming(status, "work") == 2
        finally:
            assert second.end() == 0
        assert "every worker drained" in second.output
