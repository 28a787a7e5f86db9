from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

import pytest

from hermes_ray.cli import serve as module
from hermes_ray.cluster.client import Deployment
from hermes_ray.config.settings import Config
from hermes_ray.deploy.apply import Applied
from hermes_ray.errors import OperationFailed, UserMistake


def test_detaching_is_refused_where_no_cluster_runs_before_anything_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_name: str) -> bool:
        return False

    def too_far(*_arguments: object) -> None:
        raise AssertionError("reached further than to the cluster")

    monkeypatch.setattr(module, "join_running_cluster", nobody)
    monkeypatch.setattr(module, "reach_broker", too_far)
    with pytest.raises(UserMistake, match="detach=true needs a running Ray cluster"):
        module.serve(["topics.a.handler=m:f", "detach=true"])


class Stopped:
    """A deployment that another command stops while an apply waits for its workers."""

    name = "blue"

    def follow(self, _cursor: int, _driver: str) -> dict[str, Any]:
        return {"superseded_by": None, "stopping": True, "result": None, "lines": [], "cursor": 0}


def test_an_apply_that_waits_for_workers_says_at_once_that_the_deployment_was_stopped() -> None:
    applied = Applied(deployment=cast(Deployment, Stopped()), config=Config(topics={}), changes=None)
    with pytest.raises(OperationFailed, match="deployment blue was stopped while its workers started"):
        module._detach(applied, module._Signals(), "key")


@pytest.mark.parametrize("reader", [">/dev/full", "| true", ">&-"])
def test_where_nobody_reads_its_lines_the_command_goes_on_and_says_so(reader: str) -> None:
    words = "say = _Lines(); [say(n * 'x', now=True) for n in range(9)]; exit(7)"
    program = f"from hermes_ray.cli.serve import _Lines; {words}"
    shell = f'{{ "{sys.executable}" -c "{program}"; echo code $? >&2; }} {reader}'
    ran = subprocess.run(["bash", "-c", shell], check=False, capture_output=True, text=True, timeout=60)
    assert "code 7" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert reader == ">&-" or "nobody reads the output any more; the deployment goes on without" in ran.stderr
