"""The clients that are compared: how each is started, and how it sends a message of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["PREFETCH", "Client", "all_clients", "environment"]

APPS = Path(__file__).parent / "apps"
PEERS = Path(sys.prefix) / "peers" / "bin"
PREFETCH = 500
BODY = "x" * 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """``sends`` puts one message into its queue; None: the body alone, as it is. ``first_hz``: a guess at its rate."""

    name: str
    runs: tuple[str, ...]
    sends: tuple[str, ...] | None = None
    processes: int = 1
    first_hz: int = 3_000

    @property
    def queue(self) -> str:
        """A queue that nobody else has."""
        return f"bench.{self.name.replace(' ', '.')}"


def environment(client: Client, url: str) -> Mapping[str, str]:
    """What the applications read."""
    ours = {
        "BENCH_URL": url,
        "BENCH_QUEUE": client.queue,
        "BENCH_BODY": BODY,
        "BENCH_PREFETCH": str(PREFETCH),
        "BENCH_PROCESSES": str(client.processes),
        "dramatiq_queue_prefetch": str(PREFETCH),
    }
    return os.environ | ours


def all_clients(url: str) -> list[Client]:
    """Those that can run here; a line about each that cannot."""
    python = str(PEERS / "python")
    worker = (sys.executable, "-m", "benchmarks.peers.worker")
    clients = [
        Client(name="hermes_ray sync", runs=(*worker, "handle"), first_hz=10_000),
        Client(name="hermes_ray async", runs=(*worker, "handle_async"), first_hz=10_000),
        *_in_c(url),
    ]
    if not Path(python).exists():
        print("without the Python peers: make bench-peers installs them")
        return clients
    celery = (str(PEERS / "celery"), "--app", "celery_app", "worker", "--loglevel", "warning")
    send_task = (python, "celery_app.py")
    return [
        *clients,
        Client(name="pika blocking", runs=(python, "pika_app.py"), first_hz=10_000),
        Client(name="celery solo", runs=(*celery, "--pool", "solo"), sends=send_task),
        Client(name="celery prefork", runs=(*celery, "--concurrency", "2"), sends=send_task, processes=2),
        Client(
            name="dramatiq",
            runs=(str(PEERS / "dramatiq"), "dramatiq_app", "--processes", "1"),
            sends=(python, "dramatiq_app.py"),
        ),
        Client(name="faststream", runs=(python, "faststream_app.py"), sends=(python, "faststream_app.py", "send")),
        Client(
            name="taskiq",
            runs=(str(PEERS / "taskiq"), "worker", "taskiq_app:broker", "--workers", "1", "--log-level", "WARNING"),
            sends=(python, "taskiq_app.py"),
        ),
    ]


def _in_c(url: str) -> list[Client]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("without the C consumer: there is no C compiler")
        return []
    program = Path(tempfile.gettempdir()) / f"hermes-bench-consumer-{os.getpid()}"
    command = [compiler, "-O2", "-o", str(program), str(APPS / "consumer.c"), "-lrabbitmq"]
    if (made := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        print(f"without the C consumer: {made.stderr.strip().splitlines()[0]}")
        return []
    at = urlsplit(url)
    client = Client(name="librabbitmq", runs=(), first_hz=10_000)
    return [
        Client(
            name=client.name,
            runs=(str(program), str(at.hostname), str(at.port), client.queue, str(PREFETCH)),
            first_hz=client.first_hz,
        )
    ]
