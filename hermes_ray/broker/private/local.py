"""A private RabbitMQ node, started from the installed server as a child: for the demo, the tests and ``hermes broker``.

It shares nothing with a broker that already runs: own node name, ports, epmd, cookie and directories, on loopback only.
A watchdog, a shell that waits for the end of a pipe only we hold, ends the node even when we are killed with no chance
to do so ourselves.
"""

from __future__ import annotations

import fcntl
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TextIO
from urllib.parse import quote

from hermes_ray.broker.private.node import NODE, environment, server_directory, write_files
from hermes_ray.errors import OperationFailed, UserMistake

__all__ = ["LocalBroker", "run_broker"]

START_TIMEOUT_S = 300.0  # 5 s at rest, 40 where others are at work; a node that ends is noticed at once
STOP_TIMEOUT_S = 20.0
LOG_TAIL_LINES = 15
PORTS = range(20000, 32000)  # below the range from which outgoing connections take theirs

# Each line read is the process group to kill when the pipe ends; $1 is the directory to remove, if any.
WATCHDOG = """
trap '' HUP INT TERM
group=
while read -r line; do group=$line; done
[ -z "$group" ] || kill -s KILL -- "-$group"
sleep 0.3
[ -z "$1" ] || rm -rf -- "$1"
"""


class LocalBroker:
    """A context manager: the node runs inside it, user and password are ``guest``.

    ``vhosts`` exist beside ``/`` from the start. ``port`` is chosen when ``None``. ``settings`` are further lines for
    its rabbitmq.conf. With ``directory`` the data is kept there between runs; without it lives in a temporary one.
    Works as root and as an ordinary user. Raises ``OperationFailed`` when the server is missing or does not start,
    ``UserMistake`` for a port or directory in use.
    """

    def __init__(
        self,
        *,
        vhosts: Sequence[str] = (),
        port: int | None = None,
        directory: Path | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        self._scripts = server_directory()
        self._vhosts = tuple(vhosts)
        self._settings = tuple(settings)
        self._kept = None if directory is None else directory.expanduser().absolute()
        spare = _free_ports(3)
        self.port = spare[0] if port is None else port
        self._dist_port, self._epmd_port = spare[1:]
        self._lock: IO[str] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The node's process id while it runs."""
        return None if self._server is None or self._server.poll() is not None else self._server.pid

    @property
    def log_text(self) -> str:
        """All that the node has logged so far."""
        return (self._directory / "log" / f"{NODE}.log").read_text(errors="replace")

    def url(self, vhost: str = "/") -> str:
        """The AMQP URL of ``vhost``: ``amqp://guest:guest@127.0.0.1:5672/%2F``."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def start(self) -> None:
        """Start the node and return when it takes connections; nothing is left behind if it cannot."""
        if not _is_free(self.port):
            raise UserMistake(f"--port {self.port} is in use on 127.0.0.1: choose another or stop what listens there")
        try:
            self._prepare()
            self._start_watchdog()
            self._start_epmd()
            self._start_server()
        except BaseException:
            self.kill()  # by SIGKILL: a node that still starts holds no new message, and may not react to SIGTERM yet
            self.stop()
            raise

    def stop(self) -> None:
        """End the node and all that belongs to it; idempotent. Only a kept directory is worth a graceful end."""
        if self._server is not None:
            if self._kept is not None:
                _terminate(self._server, STOP_TIMEOUT_S)
            self._server.kill()
            self._server.wait()
        if self._watchdog is not None:
            # The watchdog kills epmd's process group when our pipe to it closes. Once epmd is waited for, a stranger's
            # group may get that number: end the watchdog before.
            self._watchdog.kill()
            self._watchdog.communicate()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
        if self._lock is not None:
            self._lock.close()
            if self._kept is None:
                shutil.rmtree(self._directory, ignore_errors=True)
        self._server = self._watchdog = self._epmd = self._lock = None

    def kill(self) -> None:
        """SIGKILL the node, as a crash would; ``restart`` brings it back."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def restart(self) -> None:
        """Start the node again with the same port and data, after a graceful end if it still runs."""
        if self._server is not None:
            _terminate(self._server, STOP_TIMEOUT_S)
        self._start_server()

    def wait(self) -> None:
        """Block until the node ends by itself, which raises ``OperationFailed``."""
        if self._server is not None:
            self._server.wait()
        raise OperationFailed(f"the private RabbitMQ ended by itself\n{self._log_tail()}")

    # Starting

    def _prepare(self) -> None:
        if self._kept is None:
            self._directory = Path(tempfile.mkdtemp(prefix="hermes-broker-"))
        else:
            self._directory = self._kept
        self._lock = _lock(self._directory)
        write_files(self._directory, port=self.port, vhosts=self._vhosts, settings=self._settings)
        self._environment = environment(self._directory, dist_port=self._dist_port, epmd_port=self._epmd_port)

    def _start_watchdog(self) -> None:
        removed = "" if self._kept is not None else str(self._directory)
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", WATCHDOG, "hermes-broker-watchdog", removed],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
            cwd="/",
            bufsize=0,
        )

    def _start_epmd(self) -> None:
        epmd = shutil.which("epmd")
        if epmd is None:
            raise OperationFailed("Erlang's epmd is not in PATH: it comes with Erlang, which RabbitMQ needs")
        command = [epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        self._epmd = self._child(command, group=0)
        assert self._watchdog is not None
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.write(b"%d\n" % self._epmd.pid)
        self._await(self._epmd_port, self._epmd)

    def _start_server(self) -> None:
        assert self._epmd is not None
        self._server = self._child([str(self._scripts / "rabbitmq-server")], group=self._epmd.pid)
        self._await(self.port, self._server)

    def _child(self, command: Sequence[str], *, group: int) -> subprocess.Popen[bytes]:
        """Start ``command`` in a process group of the node's own.

        Ctrl-C signals the terminal's whole group: in ours the node would end before its users have drained.
        """
        with (self._directory / "log" / "console.log").open("ab") as console:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=self._environment,
                cwd=self._directory,
                process_group=group,
            )

    def _await(self, port: int, child: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not _is_listening(port):
            if child.poll() is not None or time.monotonic() > deadline_s:
                raise OperationFailed(f"the private RabbitMQ did not start\n{self._log_tail()}")
            time.sleep(0.05)

    def _log_tail(self) -> str:
        """The last lines of the node's logs."""
        lines: list[str] = []
        for path in sorted((self._directory / "log").glob("*.log")):
            lines += path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(lines)


def run_broker(port: int | None, directory: Path | None, out: TextIO) -> None:
    """Run a private node until SIGINT or SIGTERM; its URL is the only line on ``out``, written once it is ready.

    Call it in the main thread: signals are handled there.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, signal.default_int_handler) for number in signals]
    try:
        with LocalBroker(port=port, directory=directory) as broker:
            print(broker.url(), file=out, flush=True)
            broker.wait()
    except KeyboardInterrupt:
        return
    finally:
        for number, handler in zip(signals, previous, strict=True):
            signal.signal(number, handler)


def _lock(directory: Path) -> IO[str]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise UserMistake(f"--dir {directory} cannot be used ({error.strerror}): choose one you may write to") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UserMistake(f"--dir {directory} is used by another private broker: stop it or choose another") from None
    return lock


def _terminate(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    free: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if _is_free(port):
            free.append(port)
            if len(free) == count:
                return free
    raise OperationFailed(f"no {count} free ports from {PORTS.start} to {PORTS.stop - 1} on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
