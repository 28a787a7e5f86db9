"""A reader does word for word what is shown: README's "Your own topic" in an empty directory, docs/operating.md."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from hermes_ray.broker.private.local import LocalBroker
from tests.support.head import ray_head
from tests.support.live import Cluster, free_ports, wait_until
from tests.support.patience import PATIENCE
from tests.support.readme import Block, blocks, commands, doc

OWN_TOPIC = [block for block in blocks() if block.heading == "Your own topic"]
OPERATING = list(blocks(doc("operating")))
FILES = [block for block in OWN_TOPIC if block.file]
WITHIN_S = 180

# What the lines of docs/operating.md answer, where no block of text shows it.
ANSWERS = {
    "hermes check config=my.yaml": "ok      room orders: ",
    "hermes try orders config=my.yaml --body '{\"n\": 1}'": "handled in ",
    "hermes status": "deployment hermes, applied ",
    "hermes why orders": "; a first worker for what waits",
    "hermes workers": "consuming",
    "hermes decisions --since 10m": "  orders: 0 -> 1 worker: ",
    "hermes pause orders": "orders is paused until hermes resume orders",
    "hermes resume orders": "orders follows its policy",
    "hermes scale orders 3 --for 10m": "orders is pinned to 3 workers for 10 min more",
    "hermes stop orders": "orders is stopped until the next hermes apply or serve",
    "curl http://127.0.0.1:9464/metrics": 'queue_worker_count{queue_name="orders"}',
    "curl http://127.0.0.1:9464/healthz": "ok",
    "hermes stop": "stopped: every worker drained",
}


class Reader:
    """Somebody with a terminal in a directory, the environment activated and a Ray running."""

    def __init__(self, directory: Path, cluster: Cluster) -> None:
        self.directory = directory
        self.environment = cluster.environment

    def start(self, words: list[str], output: Path) -> subprocess.Popen[bytes]:
        with output.open("wb") as file:
            return subprocess.Popen(words, cwd=self.directory, env=self.environment, stdout=file, stderr=file)

    def type(self, line: str, *, exit_code: int = 0) -> str:
        """What the terminal shows."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == exit_code, f"{line} exited {done.returncode}:\n{done.stdout}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.type("hermes status --json"))
        return answer

    def topic(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.status()["topics"]["orders"]
        return answer


@pytest.fixture(scope="module")
def head(broker: LocalBroker, new_vhost: Callable[[], str]) -> Iterator[Cluster]:
    """As docs/configuration.md says, the broker's URL is in the environment that Ray is started in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMES_BROKER_URL", broker.url(new_vhost()))
        patch.delenv("RAY_ADDRESS", raising=False)
        with ray_head(num_cpus=2, resources={}) as cluster:
            yield cluster


@pytest.fixture
def reader(head: Cluster, tmp_path: Path) -> Reader:
    """The two files are written."""
    directory = tmp_path / "empty"
    directory.mkdir()
    for block in FILES:
        (directory / str(block.file)).write_text(block.text)
    with (directory / "my.yaml").open("a") as file:
        (port,) = free_ports(1)  # another process on this machine may have the default one
        file.write(f"metrics: {{port: {port}}}\n")
    return Reader(directory, head)


def submit(reader: Reader, words: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Submit until Ray, which has only just started, can run jobs; returns when the job serves, or ended."""

    def answered() -> subprocess.Popen[bytes] | None:
        job = reader.start(words, log)
        wait_until(lambda: "serving orders" in log.read_text() or job.poll() is not None, WITHIN_S, "the job serves")
        return None if "No available agent" in log.read_text() else job

    job: subprocess.Popen[bytes] = wait_until(answered, WITHIN_S, "Ray can run jobs")
    return job


def shell_block(first_words: str) -> Block:
    (found,) = [block for block in OWN_TOPIC if block.language == "sh" and block.text.startswith(first_words)]
    return found


@contextlib.contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens, the process ends."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_ten_lines_in_an_empty_directory_become_a_deployment(reader: Reader, tmp_path: Path) -> None:
    assert sorted(block.file or "" for block in FILES) == ["my.yaml", "orders.py"]
    assert sum(bool(line.strip()) for block in FILES for line in block.text.splitlines()) <= 10
    (words,) = commands(shell_block("ray job submit"))
    publish, status, stop = shell_block("hermes publish").text.splitlines()
    log = tmp_path / "job.log"
    job = submit(reader, words, log)
    with ending(job):
        assert job.poll() is None, log.read_text()
        answers = json.loads(reader.type(publish).splitlines()[-1])
        assert answers["confirmed"] == 2000
        table = reader.type(status)
        assert "orders" in table
        assert "arrivals/s" in table
        seen = wait_until(
            lambda: (topic := reader.topic())["depth"] == topic["held"] == 0 and topic, 30, "all is handled"
        )
        assert seen["waits"]["p50_s"] is not None
        assert (seen["retrying"], seen["retried"], seen["dead_lettered"]) == (0, 0, 0)
        assert "every worker drained" in reader.type(stop)
        assert job.wait(PATIENCE * 20) == 0, log.read_text()
    text = log.read_text()
    assert "orders: 0 -> 1 worker" in text
    assert "stopped: every worker drained" in text
    assert sorted(os.listdir(reader.directory)) == ["my.yaml", "orders.py"], "a job leaves nothing behind"


def fetched(reader: Reader, line: str) -> str:
    """What ``curl`` would get."""
    at = urlsplit(reader.status()["metrics_url"]).netloc
    with urlopen(line.removeprefix("curl ").replace("127.0.0.1:9464", at), timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def steps() -> Iterator[tuple[str, str]]:
    """The lines of docs/operating.md up to ``hermes stop``, each with the text that is shown as its answer."""
    for block, following in pairwise([*OPERATING, Block("", "", "", None)]):
        if block.language == "sh":
            *lines, last = (line.partition("  #")[0].rstrip() for line in block.text.splitlines())
            yield from ((line, "") for line in lines)
            yield last, following.text if following.language == "text" else ""
            if last == "hermes stop":
                return


@pytest.mark.slow
def test_the_second_day_goes_as_operating_says(reader: Reader, tmp_path: Path) -> None:
    unanswered = dict(ANSWERS)
    with contextlib.ExitStack() as other_terminal:
        for line, shown in steps():
            if line.startswith("hermes publish"):
                other_terminal.enter_context(ending(reader.start(line.split(), tmp_path / "load")))
                wait_until(lambda: reader.topic()["workers"]["observed"], 30, "the load has a worker")
                continue
            is_refused = shown.startswith("hermes: ")
            said = fetched(reader, line) if line.startswith("curl") else reader.type(line, exit_code=int(is_refused))
            assert unanswered.pop(line, "") in said, f"{line} said:\n{said}"
            if not shown.startswith("now: "):  # figures differ each time
                assert set(shown.splitlines()) <= set(said.splitlines()), f"{line} said:\n{said}"
    assert not unanswered, "all of it is on the page"
