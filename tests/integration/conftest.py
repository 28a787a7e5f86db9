"""The Ray cluster the live tests share, a user's project for each, and a broker in trouble."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.cluster.client import Deployment
from hermes_ray.cluster.connect import join_cluster
from tests.support.head import ray_head
from tests.support.live import Cluster, Project, topics_of
from tests.support.rabbitmqctl import ctl

SEATS = 8


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A private Ray head with room to spare, and 8 of the custom resource ``seat`` to fill up."""
    with (
        ray_head(num_cpus=64, resources={"seat": SEATS}) as head,
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for key, value in head.environment.items():
            patch.setenv(key, value)
        join_cluster("tests")
        yield head
        ray.shutdown()


@pytest.fixture
def project(cluster: Cluster, tmp_path: Path, vhost: str, vhost_url: str) -> Project:
    """A user's project with a virtual host and a deployment name of its own."""
    return Project(tmp_path, vhost_url, vhost, cluster.environment)


@pytest.fixture
def status(project: Project) -> Callable[[], dict[str, Any]]:
    """The topics of ``hermes status --json`` without a process for each look."""
    return lambda: topics_of(project)


@pytest.fixture
def ended(project: Project) -> Iterator[None]:
    """Whatever the test leaves running is killed."""
    yield
    running = Deployment.running(project.name)
    if running is not None:
        running.stop(kill=True)
        running.wait_gone()


@pytest.fixture
def alarm(broker: LocalBroker) -> Iterator[None]:
    """The broker's memory alarm is on until the test turns it off or ends."""
    ctl(broker, "set_vm_memory_high_watermark", "0.0001")
    yield
    ctl(broker, "set_vm_memory_high_watermark", "0.4")


@pytest.fixture
def small_messages(broker: LocalBroker) -> Iterator[None]:
    """The broker takes bodies of 10,000 bytes at most until the test ends."""
    before = ctl(broker, "eval", "application:get_env(rabbit, max_message_size).").strip()
    ctl(broker, "eval", "application:set_env(rabbit, max_message_size, 10000).")
    yield
    size = before.removeprefix("{ok,").removesuffix("}")
    ctl(broker, "eval", f"application:set_env(rabbit, max_message_size, {size}).")
