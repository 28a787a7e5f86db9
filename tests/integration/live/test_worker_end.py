"""A worker that has drained leaves nothing, whatever its handlers have left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray

from hermes_ray.cluster.outlet import LEAVE_S, RayOutlet
from hermes_ray.worker.worker import Worker
from tests.support.live import wait_until
from tests.support.patience import PATIENCE
from tests.support.workers import spec

HANDLER = """
import time
from concurrent.futures import ThreadPoolExecutor

class Stuck:
    def __init__(self):
        self.pool = ThreadPoolExecutor(1)
        self.pool.submit(time.sleep, 10_000)

    def __call__(self, message):
        pass
"""


@pytest.mark.usefixtures("cluster")
def test_the_process_of_a_drained_worker_ends_although_a_thread_of_an_executor_hangs(tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(HANDLER)
    what = spec("amqp://127.0.0.1:1", "stuck:Stuck", import_paths=(str(tmp_path),))
    actor: Any = ray.remote(Worker)
    worker = actor.options(num_cpus=0).remote(what, RayOutlet("tests"))
    process = Path(f"/proc/{ray.get(worker.state.remote(), timeout=PATIENCE * 60).pid}")
    assert process.exists()
    worker.drain.remote(1.0)
    wait_until(lambda: not process.exists(), 60 + 5 * LEAVE_S, "the process has ended")
