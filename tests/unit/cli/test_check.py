"""``hermes check``: how many workers fit, as a person reads it; and what it says where there is no cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hermes_ray.cli import check as module
from hermes_ray.cli.check import Finding, room
from hermes_ray.cli.main import cli
from hermes_ray.config.loading import load
from hermes_ray.core.model import Capacity, Node
from hermes_ray.errors import OperationFailed


def found(*words: str, cpus: tuple[float, ...]) -> list[tuple[bool, str]]:
    """What is said of topics a (heavy) and b on nodes of so many free CPUs."""
    topics = ["topics.a.handler=m:f", "topics.a.weight=10", "topics.b.handler=m:f", "topics.b.worker.num_cpus=1"]
    nodes = [Node(node_id=str(n), available={"CPU": free}) for n, free in enumerate(cpus)]
    findings: list[Finding] = list(room(load(None, [*topics, *words]), Capacity(nodes=tuple(nodes))))
    assert [finding.topic for finding in findings] == ["a", "b"]
    return [(finding.ok, finding.text) for finding in findings]


def test_where_all_fit_at_once_one_number_says_it() -> None:
    assert found(cpus=(8.0, 8.0)) == [
        (True, "10 of workers.max 10 fit now, each takes 0.25 CPU"),
        (True, "10 of workers.max 10 fit now, each takes 1 CPU"),
    ]


def test_what_the_heavier_topic_leaves_is_said_too() -> None:
    _, lighter = found(cpus=(4.0,))
    assert lighter == (True, "4 of workers.max 10 fit now, each takes 1 CPU; 1 if every topic has its workers.max")


def test_a_topic_that_cannot_have_one_worker_or_its_minimum_has_failed() -> None:
    _, none_fits = found(cpus=(0.75, 0.75))
    assert none_fits == (False, "0 of workers.max 10 fit now, each takes 1 CPU")
    _, below_minimum = found("topics.b.workers.min=3", cpus=(2.0,))
    assert below_minimum[0] is False


def test_a_topic_that_shall_have_no_workers_needs_no_room() -> None:
    _, without = found("topics.b.workers.max=0", cpus=(0.25,))
    assert without == (True, "0 of workers.max 0 fit now, each takes 1 CPU")


def test_without_a_cluster_handlers_are_tried_here_and_serve_would_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_broker(*_urls: Any, **_how: Any) -> None:
        raise OperationFailed("no broker answered")

    monkeypatch.setattr(module, "join_running_cluster", lambda name: False)
    monkeypatch.setattr(module, "connect", no_broker)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "checked_here.py").write_text("print('a module may print')\nasync def handle(message): ...\n")
    topics = ["topics.a.handler=checked_here:handle", "topics.b.handler=checked_here:gone"]
    topics += ["topics.c.handler=checked_here:handle", "topics.c.worker.prefetch=1"]
    done = CliRunner().invoke(cli, ["check", "--json", *topics, f"state_dir={tmp_path}", "metrics.port=0"])
    texts = {(finding["about"], finding["topic"]): finding["text"] for finding in json.loads(done.stdout)["findings"]}
    assert done.exit_code == 1
    assert texts == {
        ("configuration", None): "valid, a, b, c",
        ("handler", "a"): "checked_here:handle imports here: async, 32 slots a worker",
        ("handler", "b"): "handler checked_here:gone cannot be imported: AttributeError: module 'checked_here' has no "
        "attribute 'gone'",
        ("handler", "c"): "checked_here:handle imports here: async, 1 slot a worker",
        ("broker", None): "no broker answered",
        ("state_dir", None): f"{tmp_path} can be written",
        ("metrics", None): "none are wanted",
        ("cluster", None): "no Ray cluster runs here: hermes serve would start one",
    }
