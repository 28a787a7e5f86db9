from __future__ import annotations

import socket
from pathlib import Path

from hermes_ray.config.loading import load
from hermes_ray.config.settings import Config
from hermes_ray.deploy.scaler_place import state_problem, tls_problem


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


def test_a_file_of_tls_that_a_place_lacks_is_named_with_the_node(tmp_path: Path) -> None:
    words = ["topics.a.handler=m:f", "broker.url=[amqps://a,amqps://b]"]
    assert tls_problem(load(None, words)) is None
    problem = tls_problem(load(None, [*words, f"broker.tls.ca={tmp_path}/ca.pem"]))
    assert problem is not None
    assert problem.startswith(f"on node {socket.gethostname()} {tmp_path}/ca.pem cannot be read (No such file or dir")
