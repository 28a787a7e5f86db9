"""A private Ray head for the tests that need one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.live import BIN, RAY_SETTINGS, Cluster, free_ports, wait_until
from tests.support.patience import PATIENCE

RAY_GAVE_UP = "The current node timed out during startup"


@contextlib.contextmanager
def ray_head(
    num_cpus: int, resources: Mapping[str, float], settings: Mapping[str, str] | None = None, *, tries: int = 3
) -> Iterator[Cluster]:
    """A Ray head on free ports with a temporary directory of its own; nothing of it is left afterwards.

    ``settings`` are added to its environment. Ray waits 30 s for its own processes, which no setting makes
    longer: a head that gave up on them, as on a busy machine, is started anew, ``tries`` times in all.
    """
    with _head(num_cpus, resources, settings or {}) as head:
        if head.started_within(180):
            yield head.cluster
            return
        told = head.told()
    if tries == 1 or RAY_GAVE_UP not in told:
        raise AssertionError(f"Ray did not start:\n{told}")
    with ray_head(num_cpus, resources, settings, tries=tries - 1) as cluster:
        yield cluster


@dataclass(frozen=True, slots=True)
class _Head:
    """The process of a head that is to start."""

    process: subprocess.Popen[bytes]
    directory: Path
    cluster: Cluster

    def started_within(self, within_s: float) -> bool:
        """Wait for it to have started: true; false where it ended instead."""
        log = self.directory / "start.log"
        started = "Ray runtime started"
        wait_until(lambda: started in log.read_text() or self.process.poll() is not None, within_s, "Ray has started")
        return self.process.poll() is None

    def told(self) -> str:
        """What it and its GCS said."""
        logs = (self.directory / "start.log", *self.directory.glob("session_2*/logs/gcs_server.*"))
        return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-5_000:]}" for log in logs)


@contextlib.contextmanager
def _head(num_cpus: int, resources: Mapping[str, float], settings: Mapping[str, str]) -> Iterator[_Head]:
    directory = Path(tempfile.mkdtemp(prefix="hr", dir="/tmp"))
    port, dashboard, clients, agent = free_ports(4)
    command = [
        str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats", f"--port={port}",
        "--node-ip-address=127.0.0.1", f"--dashboard-port={dashboard}", f"--temp-dir={directory}",
        f"--num-cpus={num_cpus}", f"--resources={json.dumps(dict(resources))}",
        f"--ray-client-server-port={clients}",
        f"--dashboard-agent-listen-port={agent}",  # jobs run through it; two heads may live at once
    ]  # fmt: skip
    state_home = str(directory / "state")
    own = {**RAY_SETTINGS, **settings, "XDG_STATE_HOME": state_home}
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | own
    with (directory / "start.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        yield _Head(process, directory, Cluster(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", state_home))
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE * 30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)
