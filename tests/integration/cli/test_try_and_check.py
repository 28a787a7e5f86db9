"""``hermes try`` and ``hermes check`` as a user runs them."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from hermes_ray.broker.connection import connect
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import ensure
from tests.support.live import Cluster, Project, actors, wait_until


def queues(broker_url: str, *names: str) -> dict[str, int | None]:
    """Messages ready by queue, None for those that do not exist."""
    found: dict[str, int | None] = {}
    connection = connect([broker_url], name="test")
    for name in names:
        channel = connection.channel()
        try:
            found[name] = channel.queue_declare(name, passive=True).method.message_count
        except ChannelClosedByBroker:
            found[name] = None
    connection.close()
    return found


def findings(project: Project, *words: str, code: int = 0, **how: Any) -> dict[tuple[str, str | None], dict[str, Any]]:
    done = project.hermes("check", "--json", "config=my.yaml", *words, check=False, **how)
    assert done.returncode == code, done
    answer = json.loads(done.stdout)
    assert answer["ok"] is (code == 0)
    return {(finding["about"], finding["topic"]): finding for finding in answer["findings"]}


def test_check_says_line_by_line_what_holds_and_changes_nothing(project: Project, cluster: Cluster) -> None:
    project.configure({"new": {"handler": "Async", "worker": {"concurrency": 7}}, "work": {"handler": "Sync"}})
    connection = connect([project.url], name="test")
    ensure(connection, [TopicTopology(topic="work", queue="work")])
    connection.close()
    project.publish("work", count=3)
    lines = project.hermes("check", "config=my.yaml").stdout.splitlines()
    url = project.url.replace("guest:guest", "guest:***")
    assert lines[:8] == [
        "ok      configuration: valid, new, work",
        "ok      handler new: handlers:Async imports on the cluster: async, 7 slots a worker",
        "ok      handler work: handlers:Sync imports on the cluster: sync, 4 slots a worker",
        f"ok      broker: {url} answers",
        "ok      queue new: new will be declared if this user may, new.dead will be declared if this user may",
        "ok      queue work: work holds 3, work.dead holds 0",
        f"ok      state_dir: {cluster.state_home}/hermes_ray can be written",
        f"ok      metrics: metrics.port {project.metrics_port} is free on 127.0.0.1",
    ]
    assert lines[8].startswith("ok      cluster: 1 node, ")
    assert lines[9:] == [
        "ok      room new: 10 of workers.max 10 fit now, each takes 0.25 CPU",
        "ok      room work: 10 of workers.max 10 fit now, each takes 0.25 CPU",
    ]
    assert queues(project.url, "work", "new", "new.dead") == {"work": 3, "new": None, "new.dead": None}
    assert not actors(cluster, project.name)


def test_all_checks_still_run_when_some_fail_and_each_says_what_to_do(project: Project) -> None:
    project.configure(
        {
            "work": {"handler": "Nowhere"},
            "plain": {"handler": "Sync"},
            "given": {"handler": "Sync", "topology": "passive"},
            "large": {"handler": "Sync", "worker": {"resources": {"seat": 100}}},
        }
    )
    connection = connect([project.url], name="test")
    ensure(connection, [TopicTopology(topic="plain", queue="plain", queue_type="classic")])
    connection.close()
    with socket.create_server(("127.0.0.1", project.metrics_port)):
        found = findings(project, "state_dir=/proc/nowhere", code=1)
    failed = {key: finding["text"] for key, finding in found.items() if not finding["ok"]}
    everywhere = {("state_dir", None), ("metrics", None)}
    assert set(failed) == {("handler", "work"), ("queue", "plain"), ("queue", "given"), ("room", "large"), *everywhere}
    assert "state_dir is '/proc/nowhere', where the scaler cannot write its checkpoint" in failed["state_dir", None]
    assert f"metrics.port {project.metrics_port} is taken on 127.0.0.1" in failed["metrics", None]
    assert failed["handler", "work"].startswith("handler handlers:Nowhere cannot be imported: AttributeError")
    assert "exists as a classic queue, not quorum: set topics.plain.queue_type=classic" in failed["queue", "plain"]
    assert "must exist with topology=passive" in failed["queue", "given"]
    assert failed["room", "large"] == "0 of workers.max 10 fit now, each takes 0.25 CPU, 100 seat"
    assert queues(project.url, "work", "given") == {"work": None, "given": None}


def test_a_broker_and_a_cluster_that_do_not_answer_are_findings(project: Project) -> None:
    project.configure({"work": {"handler": "Sync"}})
    nowhere = {"HERMES_BROKER_URL": "amqp://guest:guest@127.0.0.1:1/%2F", "RAY_ADDRESS": "127.0.0.1:1"}
    found = findings(project, code=1, settings=nowhere)
    assert not found["broker", None]["ok"]
    assert "no broker answered at amqp://guest:***@127.0.0.1:1/%2F" in found["broker", None]["text"]
    assert "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1" in found["cluster", None]["text"]
    assert found["handler", "work"]["ok"]


def test_a_broker_that_is_away_is_no_fault_of_the_handlers(project: Project) -> None:
    project.configure({"work": {"handler": "Sync"}, "gone": {"handler": "Nowhere"}})
    found = findings(project, code=1, settings={"HERMES_BROKER_URL": "amqp://guest:guest@127.0.0.1:1/%2F"})
    failed = {key for key, finding in found.items() if not finding["ok"]}
    assert failed == {("broker", None), ("handler", "gone")}


def test_a_handler_that_ends_its_process_is_told_by_topic_and_name(project: Project) -> None:
    (project.directory / "dies.py").write_text("import os\nos._exit(5)\n")
    (project.directory / "raises.py").write_text("raise KeyboardInterrupt\n")
    project.configure({"work": {"handler": "Sync"}})
    for name, said in (("dies", "ends its process"), ("raises", "raises KeyboardInterrupt")):
        refused = project.hermes("apply", "config=my.yaml", f"topics.work.handler={name}:handle", check=False)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert f"topic work: handler {name}:handle {said} while it is imported or built" in refused.stderr


def test_a_mistake_in_the_configuration_is_one_sentence_and_exit_code_2(project: Project) -> None:
    project.configure({"work": {"handler": "Sync", "weight": -1}})
    done = project.hermes("check", "config=my.yaml", check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "topics.work.weight" in done.stderr


def test_workers_that_live_already_are_room_of_their_deployment(
    project: Project, status: Callable[[], dict[str, Any]]
) -> None:
    seats = {"worker": {"resources": {"seat": 1}}, "workers": {"min": 2, "max": 8}}
    project.configure({"work": {"handler": "Sync", **seats}})
    with project.serving():
        wait_until(lambda: status()["work"]["workers"]["observed"] == 2, 30, "two workers consume")
        wait_until(
            lambda: "8 of workers.max 8" in findings(project)["room", "work"]["text"],
            20,
            "they count as room, not as others",
        )


def test_try_needs_neither_broker_nor_cluster(project: Project) -> None:
    project.configure({"work": {"handler": "Async"}})
    away = {"HERMES_BROKER_URL": "amqp://guest:guest@127.0.0.1:1/%2F", "RAY_ADDRESS": "127.0.0.1:1"}
    done = project.hermes("try", "work", "config=my.yaml", "--body", "{}", settings=away)
    assert done.stdout.startswith("handled in ")
    assert sum(project.attempts("work").values()) == 1
    failing = project.hermes(
        "try", "work", "config=my.yaml", "topics.work.options.fail_ratio=1", "--body", "{}", settings=away, check=False
    )
    assert failing.returncode == 1
    assert failing.stdout == "raised RuntimeError: this attempt fails on purpose, which would be retried\n"
    assert 'handlers.py", line' in failing.stderr
    assert "hermes_ray" not in failing.stderr


def test_a_bash_that_sourced_the_script_completes(project: Project) -> None:
    project.configure({"work": {"handler": "Sync"}})
    (project.directory / "completion").write_text(project.hermes("completion", "bash").stdout)
    line = "source completion; COMP_WORDS=(hermes why config = my.yaml w) COMP_CWORD=5; _hermes_completion hermes; "
    done = project.run("bash", "-c", line + 'echo "${COMPREPLY[@]}"')
    assert done.stdout == "work\n"
