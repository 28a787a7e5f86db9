"""Where workers are put: sizes that no node has are refused at once, and a node's own resources count like others."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from hermes_ray.cluster.client import Deployment
from hermes_ray.cluster.ray_private import draining_nodes, near, node_types, waiting_actors
from tests.support.live import Cluster, Project, wait_until
from tests.support.patience import PATIENCE

Status = Callable[[], dict[str, Any]]


def test_a_first_serve_of_a_size_that_no_node_has_is_refused_in_a_sentence(project: Project) -> None:
    project.configure({"work": {"handler": "Sync", "worker": {"num_cpus": 500, "memory": "1GiB"}}})
    refused = project.hermes("serve", "config=my.yaml", check=False)
    assert refused.returncode == 2
    assert (
        "topics.work.worker takes 500 CPU, 1GiB memory, which no node has: lower it or add a larger node (at most a "
        "node has 64 CPU, "
    ) in refused.stderr
    assert "Traceback" not in refused.stderr
    assert Deployment.running(project.name) is None


def test_workers_that_ask_for_a_node_by_its_address_run(project: Project, status: Status) -> None:
    (here,) = (name for name in ray.cluster_resources() if name.startswith("node:") and "internal" not in name)
    sizes = {"num_cpus": 0.25, "resources": {here: 0.4}}
    project.configure({"work": {"handler": "Sync", "workers": {"min": 2, "max": 5}, "worker": sizes}})
    with project.serving():
        wait_until(lambda: status()["work"]["workers"]["observed"] == 2, 40, "two workers consume")
        project.hermes("scale", "work", "5", "config=my.yaml")
        wait_until(lambda: "capacity_exhausted" in status()["work"]["conditions"], 20, "a third has no room")
        why = Deployment.find(project.name).why("work")["now"]["text"]
        assert f"by the room in the cluster: 0.2 {here} short on every node" in why
        confirmed = project.publish("work", count=20)
        wait_until(lambda: not confirmed - project.handled("work").keys(), 30, "all is handled")


class Echo:
    """An actor that is there."""

    def ping(self) -> str:
        return str(ray.get_runtime_context().get_node_id())


def test_a_worker_asked_for_on_a_node_that_is_gone_starts_where_there_is_room(cluster: Cluster) -> None:
    made: Any = ray.remote(Echo)
    actor = made.options(num_cpus=0.25, scheduling_strategy=near("ab" * 28)).remote()
    assert ray.get(actor.ping.remote(), timeout=PATIENCE * 30) == ray.nodes()[0]["NodeID"]
    ray.kill(actor)
    assert draining_nodes() == set()
    assert node_types() == [], "a cluster without an autoscaler"


class Gated(Echo):
    """An actor that is up once the file ``gate`` is there."""

    def __init__(self, gate: str) -> None:
        while not Path(gate).exists():
            time.sleep(0.05)


def test_an_actor_waits_for_its_place_until_ray_has_given_it_a_process(cluster: Cluster, tmp_path: Path) -> None:
    made: Any = ray.remote(Gated)
    gate = tmp_path / "open"
    coming = made.options(num_cpus=0.25).remote(str(gate))
    never = made.options(num_cpus=0.25, resources={"nowhere": 1}).remote(str(gate))
    ids = {actor._actor_id.hex(): actor for actor in (coming, never)}
    wait_until(lambda: waiting_actors() & ids.keys() == {never._actor_id.hex()}, 40, "one has a process")
    gate.touch()
    assert ray.get(coming.ping.remote(), timeout=PATIENCE * 30)
    assert waiting_actors() & ids.keys() == {never._actor_id.hex()}
    for actor in ids.values():
        ray.kill(actor)
