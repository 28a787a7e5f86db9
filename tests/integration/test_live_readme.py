"""A reader in an empty directory does what the README says under "Your own topic", word for word."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import Cluster, ray_head, wait_until
from tests.readme import Block, blocks, commands

SECTION = [block for block in blocks() if block.heading == "Your own topic"]
WITHIN_S = 60


class Reader:
    """Somebody with a terminal in an empty directory, the environment activated and a Ray running."""

    def __init__(self, directory: Path, cluster: Cluster) -> None:
        self.directory = directory
        self.environment = cluster.environment

    def start(self, words: list[str], output: Path) -> subprocess.Popen[bytes]:
        with output.open("wb") as file:
            return subprocess.Popen(words, cwd=self.directory, env=self.environment, stdout=file, stderr=file)

    def type(self, *words: str) -> str:
        done = subprocess.run(
            words,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"{words} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def topic(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.type("hermes", "status", "--json"))["topics"]["orders"]
        return answer


@pytest.fixture
def reader(tmp_path: Path, vhost_url: str) -> Iterator[Reader]:
    """As "On a cluster" says, the broker's URL is in the environment that Ray is started in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMES_BROKER_URL", vhost_url)
        patch.delenv("RAY_ADDRESS", raising=False)
        with ray_head(num_cpus=2, resources={}) as cluster:
            (tmp_path / "empty").mkdir()
            yield Reader(tmp_path / "empty", cluster)


def submit(reader: Reader, words: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Submit until Ray, which has only just started, can run jobs; returns when the job serves, or ended."""

    def answered() -> subprocess.Popen[bytes] | None:
        job = reader.start(words, log)
        wait_until(lambda: "serving orders" in log.read_text() or job.poll() is not None, WITHIN_S, "the job serves")
        return None if "No available agent" in log.read_text() else job

    job: subprocess.Popen[bytes] = wait_until(answered, WITHIN_S, "Ray can run jobs")
    return job


def shell_block(first_words: str) -> Block:
    (found,) = [block for block in SECTION if block.language == "sh" and block.text.startswith(first_words)]
    return found


def test_ten_lines_in_an_empty_directory_become_a_deployment(reader: Reader, tmp_path: Path) -> None:
    files = [block for block in SECTION if block.file]
    assert sorted(block.file or "" for block in files) == ["my.yaml", "orders.py"]
    assert sum(bool(line.strip()) for block in files for line in block.text.splitlines()) <= 10
    for block in files:
        (reader.directory / str(block.file)).write_text(block.text)
    (words,) = commands(shell_block("ray job submit"))
    publish, status, stop = commands(shell_block("hermes publish"))
    log = tmp_path / "job.log"
    job = submit(reader, words, log)
    try:
        assert job.poll() is None, log.read_text()
        answers = json.loads(reader.type(*publish).splitlines()[-1])
        assert answers["confirmed"] == 2000
        table = reader.type(*status)
        assert "orders" in table
        assert "arrivals/s" in table
        seen = wait_until(
            lambda: (topic := reader.topic())["depth"] == topic["held"] == 0 and topic, 30, "all is handled"
        )
        assert seen["waits"]["p50_s"] is not None
        assert (seen["retrying"], seen["retried"], seen["dead_lettered"]) == (0, 0, 0)
        assert "every worker drained" in reader.type(*stop)
        assert job.wait(20) == 0, log.read_text()
    finally:
        if job.poll() is None:
            job.kill()
            job.wait()
    text = log.read_text()
    assert "orders: 0 -> 1 worker" in text
    assert "stopped: every worker drained" in text
    assert sorted(os.listdir(reader.directory)) == ["my.yaml", "orders.py"], "a job leaves nothing behind"
