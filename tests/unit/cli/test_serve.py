from __future__ import annotations

import pytest

from hermes_ray.cli import serve as module
from hermes_ray.errors import UserMistake


def test_detaching_is_refused_where_no_cluster_runs_before_anything_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_name: str) -> bool:
        return False

    def too_far(*_arguments: object) -> None:
        raise AssertionError("reached further than to the cluster")

    monkeypatch.setattr(module, "join_running_cluster", nobody)
    monkeypatch.setattr(module, "reach_broker", too_far)
    with pytest.raises(UserMistake, match="detach=true needs a running Ray cluster"):
        module.serve(["topics.a.handler=m:f", "detach=true"])
