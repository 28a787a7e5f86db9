"""``hermes publish`` to a real broker: what arrives, and what it says of what it cannot do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hermes_ray.cli import publish as module
from hermes_ray.cli.main import cli
from tests.support.ledger import declare, ready_count, take
from tests.support.patience import PATIENCE
from tests.support.slow_line import slow_line


@pytest.fixture(autouse=True)
def queue(vhost_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue ``q``; its broker is the one that commands find."""
    declare(vhost_url, "q", {"x-queue-type": "classic"})
    monkeypatch.setenv("HERMES_BROKER_URL", vhost_url)


def publish(*words: str) -> Result:
    return CliRunner().invoke(cli, ["publish", *words], prog_name="hermes")


def test_ids_that_cannot_be_written_end_the_run_and_nothing_is_sent_twice(vhost_url: str) -> None:
    done = publish("topic=q", "count=3000", "ids=/dev/full")
    assert (done.exit_code, done.stderr) == (1, "hermes: ids=/dev/full cannot be written: No space left on device\n")
    confirmed = json.loads(done.stdout)["confirmed"]
    assert 0 < confirmed < 3000
    assert ready_count(vhost_url) == confirmed


def test_a_file_and_a_text_arrive_byte_for_byte(vhost_url: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"\xff\r\n{n}\n")
    assert publish("topic=q", "count=1", f"body=@{tmp_path}/body").exit_code == 0
    assert publish("topic=q", "count=1", "body=\udcff").exit_code == 0
    assert [taken.body for taken in take(vhost_url, "q", 2)] == [b"\xff\r\n0\n", b"\xff"]


def test_what_the_broker_refuses_fails_the_command_with_its_words(small_messages: None, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"x" * 20_000)
    done = publish("topic=q", "count=3", f"body=@{tmp_path}/body")
    assert (done.exit_code, json.loads(done.stdout)["refused"]) == (1, 3)
    assert done.stderr.startswith("hermes: the broker refused 3 messages, the first with: ")
    assert "max_message_size of 10000" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_a_full_queue_rejects_is_told(vhost_url: str) -> None:
    declare(vhost_url, "full", {"x-max-length": 1, "x-overflow": "reject-publish"})
    assert publish("topic=full", "count=1").exit_code == 0
    done = publish("topic=full", "count=4")
    assert (done.exit_code, json.loads(done.stdout)["nacked"]) == (1, 4)
    assert done.stderr == "hermes: the queue full rejected 4 messages: it is full, or cannot keep them now\n"


def test_an_alarm_of_the_broker_is_named(alarm: None) -> None:
    """In a process of its own, with which the connection ends: the broker reads no close."""
    hasty = "from hermes_ray.cli import main, publish; publish.ANSWER_WAIT_S = 2.0; main.cli()"
    command = [sys.executable, "-c", hasty, "publish", "topic=q", "count=50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 120, check=False)
    unanswered = 50 - json.loads(done.stdout)["confirmed"]
    assert unanswered > 1
    said = f"hermes: no answer came for 2 s to {unanswered} messages: the broker takes no publishes now: "
    assert done.stderr.startswith(said), done.stderr
    assert done.returncode == 1


def test_answers_that_go_on_coming_are_waited_for(
    vhost_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "ANSWER_WAIT_S", 2.5)
    (tmp_path / "body").write_bytes(b"x" * 1_500_000)
    with slow_line(vhost_url, bytes_per_s=3e6) as (url, _):
        monkeypatch.setenv("HERMES_BROKER_URL", url)
        done = publish("topic=q", "count=8", f"body=@{tmp_path}/body")
    answers = json.loads(done.stdout)
    assert answers["seconds"] > 2.5
    assert (done.exit_code, answers["confirmed"], done.stderr) == (0, 8, "")


def test_a_name_that_the_broker_has_without_a_queue_is_not_said_to_be_deleted() -> None:
    done = publish("topic=amq.rabbitmq.reply-to", "count=1")
    assert done.exit_code == 1
    assert done.stderr == "hermes: 1 message came back: there is no queue amq.rabbitmq.reply-to now\n"
