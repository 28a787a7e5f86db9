"""The private node: it runs, keeps what it should, touches nobody else's, and is gone however its owner ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingConnection

from hermes_ray.broker.connection import connect
from hermes_ray.broker.private import node as node_module
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.private.node import HOW_TO_GET_IT
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import ensure
from hermes_ray.errors import OperationFailed, UserMistake
from tests.support.patience import PATIENCE, deadline_s
from tests.support.rabbitmqctl import ctl, remember_queues

RUN = (
    "import sys, pathlib; from hermes_ray.broker.private.local import run_broker; "
    "run_broker({port}, {directory}, sys.stdout)"
)
LISTENING = "0A"  # in /proc/net/tcp
LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    give_up_s = deadline_s(timeout_s)
    while not condition():
        assert time.monotonic() < give_up_s, "not within the deadline"
        time.sleep(0.02)


def processes_of(directory: Path) -> set[str]:
    """The names of all living processes, of any parent, whose home is the node's directory."""
    names = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"HOME={directory}".encode() in (process / "environ").read_bytes().split(b"\0"):
                names.add((process / "comm").read_text().strip())
        except OSError:
            continue
    return names


def home_of(pid: int) -> Path:
    entries = (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0")
    return Path(next(entry for entry in entries if entry.startswith(b"HOME=")).removeprefix(b"HOME=").decode())


def put(connection: BlockingConnection, body: bytes) -> None:
    ensure(connection, [TopicTopology(topic="kept", queue="kept")])
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("", "kept", body, BasicProperties(delivery_mode=2), mandatory=True)


def take(url: str) -> bytes | None:
    connection = connect([url], name="test/local", wait_s=5)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    _, _, body = next(iter(channel.consume("kept", auto_ack=False, inactivity_timeout=10.0)))
    connection.close()
    return body


def test_a_killed_node_comes_back_at_the_same_url_with_every_confirmed_message() -> None:
    with LocalBroker(vhosts=["mine"]) as node:
        url = node.url("mine")
        connection = connect([url], name="test/local")
        put(connection, b"confirmed")
        connection.close()
        remember_queues(node)
        first = node.pid
        node.kill()
        with pytest.raises(OperationFailed, match="no broker answered"):
            connect([url], name="test/local")
        node.restart()
        assert node.url("mine") == url
        assert node.pid not in (None, first)
        assert take(url) == b"confirmed"


def test_nothing_is_left_of_a_node_after_the_end_of_its_block_or_an_exception_in_it() -> None:
    homes: list[Path] = []

    def fail_inside() -> None:
        with LocalBroker() as node:
            assert node.pid is not None
            homes.append(home_of(node.pid))
            assert {"beam.smp", "epmd", "erl_child_setup"} <= processes_of(homes[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    until(lambda: not processes_of(homes[0]))
    assert not homes[0].exists()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_command_prints_its_url_alone_and_leaves_nothing_behind_when_it_ends(ending: signal.Signals) -> None:
    command = [sys.executable, "-c", RUN.format(port=None, directory=None)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        connect([url], name="test/command").close()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (home,) = {home_of(int(child)) for child in children if is_named(child, "beam.smp")}
        assert "epmd" in processes_of(home)

        process.send_signal(ending)
        assert process.stdout.read() == ""
        assert process.wait(PATIENCE * 30) == (0 if ending != signal.SIGKILL else -signal.SIGKILL)
    until(lambda: not processes_of(home))
    until(lambda: not home.exists())
    until(lambda: not any(is_named(child, "sh") for child in children))


def is_named(pid: str, name: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == name
    except OSError:
        return False


def test_a_signal_while_the_node_starts_leaves_nothing_behind_either(tmp_path: Path) -> None:
    home = tmp_path / "data"
    command = [sys.executable, "-c", RUN.format(port=None, directory=f"pathlib.Path({str(home)!r})")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        until(lambda: "beam.smp" in processes_of(home))
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE * 15)[0] == ""
        assert process.returncode == 0
    until(lambda: not processes_of(home))


def test_a_kept_directory_brings_the_messages_back_and_takes_one_broker_at_a_time(tmp_path: Path) -> None:
    directory = tmp_path / "my data"
    with LocalBroker(directory=directory) as node:
        connection = connect([node.url()], name="test/local")
        put(connection, b"from before")
        connection.close()
        with pytest.raises(UserMistake, match=r"my data is used by another private broker: stop it or choose another"):
            LocalBroker(directory=directory).start()

    until(lambda: not processes_of(directory))
    with LocalBroker(directory=directory) as node:
        assert take(node.url()) == b"from before"


def test_a_directory_that_cannot_be_made_is_refused_with_its_name_and_the_cause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserMistake, match=r"^--dir .*/file/data cannot be used \(Not a directory\): choose"):
        LocalBroker(directory=tmp_path / "file" / "data").start()


def test_a_port_in_use_is_refused_with_its_number() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserMistake, match=rf"--port {port} is in use on 127\.0\.0\.1: choose another"):
            LocalBroker(port=port).start()


def test_the_node_listens_on_loopback_only(broker: LocalBroker) -> None:
    assert broker.pid is not None
    sockets = {os.readlink(link) for link in Path(f"/proc/{broker.pid}/fd").iterdir() if link.is_symlink()}
    inodes = {name.removeprefix("socket:[").removesuffix("]") for name in sockets if name.startswith("socket:[")}
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    addresses = [row[1].split(":")[0] for row in rows if row[3] == LISTENING and row[9] in inodes]
    assert len(addresses) >= 2  # clients, and the distribution that rabbitmqctl uses
    assert set(addresses) <= LOOPBACK


def test_ctl_answers_from_this_node_and_repeats_what_it_refused(broker: LocalBroker, vhost: str) -> None:
    assert vhost in ctl(broker, "list_vhosts").split()
    with pytest.raises(OperationFailed, match=r"rabbitmqctl delete_user failed: .*nobody"):
        ctl(broker, "delete_user", "nobody")


def test_a_node_that_cannot_start_shows_the_end_of_its_log_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(OperationFailed, match=r"the private RabbitMQ did not start\n(.*\n)+"):
        LocalBroker(directory=tmp_path).start()
    until(lambda: not processes_of(tmp_path))


def test_a_missing_server_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(node_module, "SERVER_DIRECTORIES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OperationFailed) as missing:
        LocalBroker()
    assert str(missing.value) == HOW_TO_GET_IT
    assert all(word in HOW_TO_GET_IT for word in ("apt-get install", "dnf install", "brew install", "broker.url"))


def test_the_node_ignores_the_settings_of_a_broker_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_NODENAME", "rabbit@elsewhere")
    monkeypatch.setenv("RABBITMQ_NODE_PORT", "5672")
    with LocalBroker() as node:
        connect([node.url()], name="test/local").close()
        assert "hermes@localhost" in ctl(node, "cluster_status")
