"""``hermes publish`` to a real broker: what arrives, and what it says of what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hermes_ray.cli.main import cli
from tests.support.ledger import declare, ready_count, take


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
