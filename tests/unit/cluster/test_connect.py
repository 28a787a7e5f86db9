from __future__ import annotations

import pytest

from hermes_ray.cluster import connect as module
from hermes_ray.cluster.connect import join_running_cluster, start_cluster
from hermes_ray.errors import OperationFailed, UserMistake


@pytest.mark.parametrize("address", ["", "http://h:8265", "https://h:8265"])
def test_an_address_for_jobs_or_none_means_a_cluster_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(module, "cluster_addresses", list[str])
    assert not join_running_cluster("tests")


def test_an_address_where_nothing_answers_is_a_mistake_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "localhost:1")
    with pytest.raises(UserMistake, match="no Ray cluster answers at RAY_ADDRESS=localhost:1"):
        join_running_cluster("tests")


def test_a_ray_that_gives_up_on_its_own_processes_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_how: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(OperationFailed, match="a local Ray did not start within the 30 s"):
        start_cluster("tests", apart=True)
