from __future__ import annotations

from pathlib import Path

from hermes_ray.config.settings import Config
from hermes_ray.deploy.scaler_place import state_problem


def test_looking_whether_a_checkpoint_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    assert state_problem(Config(topics={}, state_dir=str(tmp_path / "new" / "state"))) is None
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_checkpoint_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    problem = state_problem(Config(topics={}, state_dir=str(tmp_path / "file" / "state")))
    assert problem is not None
    assert problem.startswith(
        f"state_dir is '{tmp_path}/file/state', where the scaler cannot write its checkpoint (Not a"
    )
    assert "name a directory on its node" in problem
