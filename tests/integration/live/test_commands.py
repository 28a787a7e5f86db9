"""Starting and stopping as a user does."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_ray.cluster.client import Deployment
from tests.support.ledger import ready_count
from tests.support.live import ROOT, Cluster, Project, Serve, actors, wait_until
from tests.support.patience import PATIENCE

SLOW = {"handler": "Sync", "options": {"sleep_s": 6}, "worker": {"concurrency": 2}, "workers": {"min": 1, "max": 1}}


def start_four_slow_ones(project: Project, status: Callable[[], dict[str, Any]]) -> set[str]:
    wait_until(lambda: status()["slow"]["workers"]["observed"] == 1, 30, "the worker consumes")
    ids = project.publish("slow", count=4)
    wait_until(lambda: status()["slow"]["held"] == 2, 20, "two handlers run")
    return ids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_drains_every_worker_and_serve_exits_0(
    project: Project, cluster: Cluster, status: Callable[[], dict[str, Any]], number: signal.Signals
) -> None:
    project.configure({"slow": SLOW})
    with project.serving() as serve:
        ids = start_four_slow_ones(project, status)
        assert serve.end(number) == 0
    assert "every worker drained" in serve.output
    assert len(project.handled("slow").keys() & ids) == 2, "running handlers finished, buffered messages went back"
    wait_until(lambda: not actors(cluster, project.name), 20, "no actor is left")


def test_handlers_longer_than_the_drain_timeout_are_killed_and_counted(
    project: Project, status: Callable[[], dict[str, Any]]
) -> None:
    project.configure({"slow": {**SLOW, "options": {"sleep_s": 30}}}, drain_timeout_s=1)
    with project.serving() as serve:
        start_four_slow_ones(project, status)
        assert serve.end() == 1
    assert "2 running handlers were killed" in serve.output


def test_a_second_ctrl_c_kills_at_once(project: Project, status: Callable[[], dict[str, Any]]) -> None:
    project.configure({"slow": {**SLOW, "options": {"sleep_s": 60}}})
    with project.serving() as serve:
        start_four_slow_ones(project, status)
        serve.process.send_signal(signal.SIGINT)
        serve.wait_for("draining", 5)
        started_s = time.monotonic()
        assert serve.end(signal.SIGINT) == 130
        assert time.monotonic() - started_s < 15


def test_killing_the_driver_stops_nothing_and_hermes_stop_ends_it(
    project: Project, cluster: Cluster, status: Callable[[], dict[str, Any]]
) -> None:
    project.configure({"quick": {"handler": "Sync"}})
    with project.serving() as serve:
        assert json.loads(project.hermes("status", "--json", "config=my.yaml").stdout)["driver"] == "alive"
        load = project.publishing("quick", rate_hz=50, seconds=6)
        wait_until(lambda: project.handled("quick").total() > 50, 30, "messages are handled")
        serve.process.kill()
        serve.process.wait()
        ids = load()
        wait_until(lambda: not ids - project.handled("quick").keys(), 30, "messages are handled without a driver")
        wait_until(
            lambda: "no driver" in project.hermes("status", "config=my.yaml").stdout,
            30,
            "status says that there is no driver",
        )
        stopped = project.hermes("stop", "config=my.yaml")
        assert "every worker drained" in stopped.stdout
        wait_until(lambda: not actors(cluster, project.name), 20, "no actor is left")
        nobody = project.hermes("stop", "config=my.yaml", check=False)
        assert nobody.returncode == 2
        assert "no deployment" in nobody.stderr


def test_a_stop_order_outlives_the_driver_and_a_kill_of_the_scaler(
    project: Project, cluster: Cluster, status: Callable[[], dict[str, Any]]
) -> None:
    project.configure({"slow": {**SLOW, "options": {"sleep_s": 8}}})
    with project.serving() as serve:
        ids = start_four_slow_ones(project, status)
        serve.process.kill()
        serve.process.wait()
        Deployment.find(project.name).stop()
        os.kill(actors(cluster, project.name)["scaler"].pid, signal.SIGKILL)
        wait_until(lambda: not actors(cluster, project.name), 60, "no actor is left")
        assert len(project.handled("slow").keys() & ids) == 2, (
            "running handlers finished, no new worker took the others"
        )


def test_a_handler_that_does_not_import_ends_serve_with_its_text_before_anything_starts(
    project: Project, cluster: Cluster
) -> None:
    (project.directory / "broken.py").write_text("import a_module_nobody_has\n")
    project.configure({"work": {"handler": "Sync"}})
    serve = Serve(project, ["config=my.yaml", "topics.work.handler=broken:handle"])
    assert serve.process.wait(PATIENCE * 60) == 1
    assert "No module named 'a_module_nobody_has'" in serve.output
    assert "Traceback" not in serve.output
    assert not actors(cluster, project.name)


def test_workers_that_cannot_start_are_not_started_over_and_over(
    project: Project, status: Callable[[], dict[str, Any]]
) -> None:
    (project.directory / "moody.py").write_text(
        "import os, pathlib\n"
        "class Moody:\n"
        "    def __init__(self, ledger):\n"
        "        with open(ledger + '.starts', 'a') as file: print(os.getpid(), file=file)\n"
        "        if len(open(ledger + '.starts').readlines()) > 1: raise RuntimeError('not today')\n"
        "    def __call__(self, message): pass\n"
    )
    project.configure({"work": {"handler": "Sync", "workers": {"min": 3}}})
    serve = Serve(project, ["config=my.yaml", "topics.work.handler=moody:Moody"])
    try:
        serve.wait_for("not today", 60)
        since_s = time.monotonic()
        wait_until(lambda: time.monotonic() - since_s > 8, 20, "some time passes")
        starts = len((project.directory / "ledger.work.starts").read_text().splitlines())
        assert starts <= 6, "the trial, the first three, and one try each after 5 s and 10 s"
        assert "not today" in status()["work"]["start_error"]
    finally:
        serve.end()


def test_a_job_submitted_as_the_readme_says_runs_end_to_end(project: Project, cluster: Cluster) -> None:
    project.configure({"player_crawl": {"handler": "Async", "workers": {"min": 1}}})
    submission = f"job-{project.name}"
    submit = ["ray", "job", "submit", "--address", cluster.dashboard, "--no-wait", "--submission-id", submission]
    serve = ["python", "jobs/serve.py", "config=my.yaml", f"broker.url={project.url}"]
    for heavy in (".venv", "out"):
        (project.directory / heavy).mkdir()
        (project.directory / heavy / "big").write_bytes(bytes(60 * 2**20) if heavy == ".venv" else b"x")
    for shipped in (".gitignore", ".rayignore"):
        (project.directory / shipped).write_text((ROOT / shipped).read_text())
    jobs = project.directory / "jobs"
    jobs.mkdir()
    (jobs / "serve.py").write_text((ROOT / "jobs" / "serve.py").read_text())
    project.run(*submit, "--working-dir", ".", "--", *serve)
    living = wait_until(
        lambda: len(found := actors(cluster, project.name)) >= 2 and found, 60, "scaler and worker are actors"
    )
    worker = next(name for name in living if name != "scaler")
    assert worker.startswith("player_crawl/")
    assert len(worker.removeprefix("player_crawl/")) == 8
    assert {actor.repr_name for actor in living.values()} == {"Scaler", f"Worker({worker})"}
    directory = wait_until(lambda: working_directory(living[worker].pid), 10, "the worker's directory")
    assert not (directory / ".venv").exists()
    assert not (directory / "out").exists()
    load = project.publishing("player_crawl", rate_hz=100, seconds=8)
    wait_until(lambda: project.handled("player_crawl").total() > 100, 30, "messages are handled")
    project.run("ray", "job", "stop", "--address", cluster.dashboard, "--no-wait", submission)
    wait_until(lambda: not actors(cluster, project.name), 40, "the stop order outlived the driver")
    confirmed, handled = load(), project.handled("player_crawl")
    assert len(handled) + ready_count(project.url, "player_crawl") == len(confirmed), "the others are in the queue"
    assert handled.keys() <= confirmed
    assert set(handled.values()) == {1}, "drained, so nothing is repeated"


def working_directory(pid: int) -> Path | None:
    link = Path(f"/proc/{pid}/cwd")
    return link.resolve() if link.exists() else None


def test_commands_say_in_one_sentence_what_is_not_there(project: Project) -> None:
    project.configure({"work": {"handler": "Sync"}})
    unreachable = {"RAY_ADDRESS": "127.0.0.1:1"}
    cases: list[tuple[list[str], dict[str, str], int, str]] = [
        (["status", "deployment.name=nobody"], {}, 2, "no deployment"),
        (["stop", "deployment.name=nobody"], {}, 2, "no deployment"),
        (["status"], unreachable, 2, "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1"),
        (["serve", "config=my.yaml"], unreachable, 2, "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1"),
        (["publish", "topic=work", "count=3"], {}, 2, "there is no queue work, and no such topic in the configuration"),
        (["publish", "config=my.yaml", "topic=wrk"], {}, 2, "no such topic in the configuration: did you mean work?"),
        (
            ["publish", "config=my.yaml", "topic=work"],
            {},
            2,
            "there is no queue work yet: hermes serve or hermes apply",
        ),
    ]
    for command, settings, code, words in cases:
        done = project.hermes(*command, check=False, settings=settings)
        assert done.returncode == code, done
        assert words in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


def test_a_detached_deployment_is_up_when_serve_returns_and_stays_until_it_is_stopped(
    project: Project, status: Callable[[], dict[str, Any]]
) -> None:
    project.configure({"kept": {"handler": "Async", "workers": {"min": 1}}, "idle": {"handler": "Sync"}})
    assert "is up" in project.hermes("serve", "config=my.yaml", "detach=true").stdout
    assert status()["kept"]["workers"]["observed"] == 1
    assert status()["idle"]["depth"] == 0
    assert "every worker drained" in project.hermes("stop", "config=my.yaml").stdout
