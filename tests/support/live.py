"""What the live tests stand on: a private Ray cluster, a user's project, ``hermes`` as a process, and waiting."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ray.util.state import list_actors

from hermes_ray.cluster.client import Deployment
from tests.support.patience import PATIENCE, deadline_s

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
# Whether the machine's user has a cluster token must not matter.
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # an activated environment
}

HANDLERS = '''
import asyncio, os, random, threading, time

class Ledger:
    """Writes a line for each message handled: id, attempt."""

    def __init__(self, ledger, sleep_s=0.0, fail_ratio=0.0):
        self.file = os.open(f"{ledger}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.sleep_s, self.fail_ratio = sleep_s, fail_ratio

    def fails(self, message):
        return message.attempt == 1 and random.random() < self.fail_ratio

    def note(self, message):
        if self.fails(message):
            raise RuntimeError("this attempt fails on purpose")
        os.write(self.file, f"{message.id} {message.attempt}\\n".encode())

class Sync(Ledger):
    def __call__(self, message):
        time.sleep(self.sleep_s)
        self.note(message)

class Hanging(Ledger):
    def __call__(self, message):
        if self.fails(message):
            time.sleep(3600)
        self.note(message)

class Async(Ledger):
    async def __call__(self, message):
        await asyncio.sleep(self.sleep_s)
        self.note(message)

class Spinning(Ledger):
    def __call__(self, message):
        until = time.monotonic() + self.sleep_s
        while time.monotonic() < until:
            pass
        self.note(message)

class Blocking(Ledger):
    async def __call__(self, message):
        time.sleep(self.sleep_s)
        self.note(message)
'''


def wait_until(true: Callable[[], Any], within_s: float, what: str) -> Any:
    """The first true answer of ``true``; fails the test after ``within_s``, with patience."""
    give_up_s = deadline_s(within_s)
    while True:
        if answer := true():
            return answer
        if time.monotonic() > give_up_s:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens at, below those that the system gives to clients, above those of Ray."""
    with contextlib.ExitStack() as probes:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randrange(20_000, 32_768)
            with contextlib.suppress(OSError):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
                ports.append(port)
        return ports


@dataclass(frozen=True, slots=True)
class Cluster:
    """A private Ray head: where the GCS and the job API are."""

    address: str
    dashboard: str
    state_home: str

    @property
    def environment(self) -> dict[str, str]:
        """What a user's shell has: the cluster's address, the commands on its path, no usage stats."""
        own = {"RAY_ADDRESS": self.address, "XDG_STATE_HOME": self.state_home}
        return {**os.environ, **RAY_SETTINGS, **own}


class Project:
    """A user's directory: handlers, a configuration, ledgers; and the commands run in it."""

    def __init__(self, directory: Path, url: str, name: str, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.url = url
        self.name = name
        self.environment = {**environment, "HERMES_BROKER_URL": url}
        (self.metrics_port,) = free_ports(1)  # the usual one is for one deployment at a time
        (directory / "handlers.py").write_text(HANDLERS)

    def configure(self, topics: Mapping[str, Mapping[str, Any]], **top: Any) -> None:
        """Write ``my.yaml``; a topic's ``handler`` is a name in handlers.py, its ledger comes by itself."""
        whole = {"deployment": {"name": self.name}, "metrics": {"port": self.metrics_port}, **top, "topics": {}}
        for topic, settings in topics.items():
            kept = dict(settings)
            kept["handler"] = f"handlers:{settings['handler']}"
            kept["options"] = {"ledger": str(self.directory / f"ledger.{topic}"), **settings.get("options", {})}
            whole["topics"][topic] = kept
        (self.directory / "my.yaml").write_text(yaml.safe_dump(whole))

    def run(
        self, *command: str, within_s: float = 60, check: bool = True, settings: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the user to its end; ``settings`` are added to the environment."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**self.environment, **(settings or {})},
            capture_output=True,
            text=True,
            timeout=PATIENCE * within_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def hermes(self, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.run(str(BIN / "hermes"), *words, **how)

    def hermes_in_background(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(BIN / "hermes"), *words],
            cwd=self.directory, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def publish(self, topic: str, **words: Any) -> set[str]:
        """Publish a load; returns the confirmed ids."""
        ids = self.directory / f"ids.{topic}.{time.monotonic_ns()}"
        given = [f"{key}={value}" for key, value in words.items()]
        done = self.hermes("publish", f"topic={topic}", f"ids={ids}", *given, within_s=120)
        answers = json.loads(done.stdout.splitlines()[-1])
        confirmed = ids.read_text().split()
        assert len(confirmed) == answers["confirmed"]
        return set(confirmed)

    def publishing(self, topic: str, **words: Any) -> Callable[[], set[str]]:
        """Publish in the background; call the result for the confirmed ids."""
        with_ids: Future[set[str]] = Future()

        def publish() -> None:
            try:
                with_ids.set_result(self.publish(topic, **words))
            except BaseException as error:
                with_ids.set_exception(error)

        threading.Thread(target=publish, daemon=True).start()
        return lambda: with_ids.result(PATIENCE * 120)

    def handled(self, topic: str) -> Counter[str]:
        """How often each id was handled."""
        return Counter(line.split()[0] for line in self._lines(topic))

    def attempts(self, topic: str) -> Counter[str]:
        """How often each attempt number was seen."""
        return Counter(line.split()[1] for line in self._lines(topic))

    def _lines(self, topic: str) -> list[str]:
        files = self.directory.glob(f"ledger.{topic}.*")
        return [line for file in files for line in file.read_text().splitlines()]

    @contextlib.contextmanager
    def serving(self, *words: str) -> Iterator[Serve]:
        """``hermes serve`` in the background, stopped at the end."""
        serve = Serve(self, ["config=my.yaml", *words])
        try:
            serve.wait_for("serving", 60)
            yield serve
        finally:
            serve.end()


class Serve:
    """One ``hermes serve`` process and what it printed."""

    def __init__(self, project: Project, words: Sequence[str]) -> None:
        self._log = project.directory / f"serve.{time.monotonic_ns()}.log"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(BIN / "hermes"), "serve", *words],
                cwd=project.directory, env=project.environment, stdout=output, stderr=output,
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, within_s: float) -> None:
        wait_until(lambda: text in self.output or self.process.poll() is not None, within_s, f"serve says {text!r}")
        assert text in self.output, f"serve exited {self.process.returncode}:\n{self.output}"

    def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 60) -> int:
        """Signal it, wait for its end; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE * within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"serve did not end within {within_s:g} s:\n{self.output}") from None


def actors(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """The living actors of a deployment by name, from Ray's state API."""
    found = list_actors(address=cluster.dashboard, filters=[("state", "=", "ALIVE")], detail=True, limit=1000)
    return {str(actor.name): actor for actor in found if actor.ray_namespace == namespace}


def topics_of(project: Project) -> dict[str, Any]:
    """The topics of ``hermes status --json`` without a process for each look."""
    topics: dict[str, Any] = Deployment.find(project.name).status()["topics"]
    return topics
