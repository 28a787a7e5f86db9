"""What Ray is asked for, and which of its actors are workers of ours."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from hermes_ray.cluster import worker_pool as module
from hermes_ray.cluster.worker_pool import RayWorkerPool, is_worker_name
from hermes_ray.core.resources import Resources
from hermes_ray.scaler.plan import worker_spec
from hermes_ray.worker.worker import Worker
from tests.support.fleet_scene import plan

SPEC = worker_spec(plan(), "light")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    fake = MagicMock()
    monkeypatch.setattr(module, "ray", fake)
    return fake


@pytest.mark.parametrize(
    ("size", "asked"),
    [
        ({}, {"num_cpus": 0.0, "num_gpus": None, "memory": None, "resources": None}),
        ({"CPU": 0.25}, {"num_cpus": 0.25, "num_gpus": None, "memory": None, "resources": None}),
        (
            {"CPU": 2.0, "GPU": 0.5, "memory": 1e9, "TPU": 1.0, "disk": 3.0},
            {"num_cpus": 2.0, "num_gpus": 0.5, "memory": 1e9, "resources": {"TPU": 1.0, "disk": 3.0}},
        ),
    ],
)
def test_a_worker_is_started_with_all_that_its_topic_says_it_takes(
    ray: MagicMock, size: Resources, asked: dict[str, Any]
) -> None:
    actor = ray.remote.return_value.options
    actor.return_value.remote.return_value = SimpleNamespace(__ray_ready__=MagicMock())
    worker = RayWorkerPool("tests").start(SPEC, "orders", size)
    options = actor.call_args.kwargs
    assert {name: options[name] for name in asked} == asked
    assert is_worker_name(worker)
    assert (options["name"], options["namespace"], options["max_restarts"]) == (worker, "tests", 0)
    (spec, _), _ = actor.return_value.remote.call_args
    assert spec.worker == worker


@pytest.mark.parametrize("name", ["scaler", "orders/3f2a91b", "orders/3f2a91bcd", "orders/3F2A91BC", "/3f2a91bc"])
def test_a_name_of_another_form_is_no_workers(name: str) -> None:
    assert not is_worker_name(name)


def test_actors_of_another_class_in_the_namespace_are_not_ours(monkeypatch: pytest.MonkeyPatch, ray: MagicMock) -> None:
    names = ["scaler", "orders/00000001", "orders/00000002", "orders/00000003"]
    everywhere = [{"name": name, "namespace": "tests"} for name in names]
    ray.util.list_named_actors.return_value = [*everywhere, {"name": "orders/00000004", "namespace": "other"}]
    ray.get_actor.side_effect = lambda name, namespace: name
    ours = f"{Worker.__module__}.{Worker.__qualname__}"
    monkeypatch.setattr(module, "class_of", lambda handle: "their.Worker" if handle == "orders/00000002" else ours)
    pool = RayWorkerPool("tests")
    for _ in range(2):
        assert pool.living() == {"orders/00000001", "orders/00000003"}
    pool.kill("orders/00000002")
    assert not ray.kill.called
    pool.kill("orders/00000003")
    ray.kill.assert_called_once_with("orders/00000003", no_restart=True)
