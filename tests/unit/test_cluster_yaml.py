"""The Ray cluster launcher's file, checked as ``ray up`` checks it, without a cloud."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.support.cluster_file import local_variant, shipped
from tests.support.live import ROOT


@pytest.mark.parametrize("config", [shipped(), local_variant()], ids=["aws", "local"])
def test_ray_takes_it_and_installs_this_project_on_every_node(config: dict[str, Any]) -> None:
    prepared = prepare_config(config)
    validate_config(prepared)
    for commands in ("head_setup_commands", "worker_setup_commands"):
        assert any("pip install --constraint ~/hermes_ray/constraints.txt" in line for line in prepared[commands])
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert any("ray start" in line and "cluster.env" in line for line in prepared[commands])


@pytest.mark.parametrize("wrong", [{"idle_timeout_minuts": 5}, {"head_node_typ": "head"}, {"max_workers": "two"}])
def test_a_misspelt_key_or_a_wrong_type_is_caught(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate_config(prepare_config(shipped() | wrong))


def test_its_image_has_the_ray_of_the_constraints() -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert shipped()["docker"]["image"] == f"rayproject/ray:{pinned[1]}-py311"


def test_the_file_with_the_password_is_neither_committed_nor_sent_with_a_job() -> None:
    assert "/cluster.env" in (ROOT / ".gitignore").read_text().splitlines()
