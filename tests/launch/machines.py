"""Machines to launch a cluster on: each is an sshd in namespaces of its own, with an address on a bridge between them.

``ray stop`` and ``ray down`` signal every Ray they see and Ray's files have fixed places, so one machine sees neither
the processes nor the temporary files and the home of another, nor those of the host.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.support.live import wait_until

USER = "hermes"
HOME = Path("/tmp/home")
DESK_IP = "192.0.2.1"
BRIDGE = "lan"
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-q")

SSHD_CONFIG = """\
HostKey /tmp/host_key
AuthorizedKeysFile /tmp/authorized_keys
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
# Everybody may write to /tmp, on this machine's one as well.
StrictModes no
UsePAM no
"""

# What a login on such a machine gets: python3.11, and packages without a way to their index.
PROFILE = """\
export PATH={python}:$PATH PIP_NO_INDEX=1 PIP_FIND_LINKS=/tmp/wheels RAY_USAGE_STATS_ENABLED=0
"""

# $0 becomes this machine's /tmp, with the home and the wheels $1 in it. Who is logged in is noted on none of the host's
# lists.
BOOT = """
set -e
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /run
mkdir /run/sshd
mount --bind "$1" "$0/wheels"
mount --rbind "$0" /tmp
exec "$(PATH=$PATH:/usr/sbin:/sbin command -v sshd)" -D -e -f /tmp/sshd_config
"""


def run(*words: str) -> None:
    """Run a command to its end; fails the test with what it printed."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{words} exited {done.returncode}: {done.stdout}{done.stderr}"


def lay_cable() -> None:
    """Where the machines are plugged in; the test itself is on it with an address of its own."""
    for words in ("link set lo up", f"link add name {BRIDGE} type bridge", f"addr add {DESK_IP}/24 dev {BRIDGE}"):
        run("ip", *words.split())
    run("ip", "link", "set", BRIDGE, "up")


def become_user(passwd: Path) -> None:
    """Give this account, here and on machines started later, another name and home, so that ssh reads no real one."""
    known = Path("/etc/passwd").read_text()
    passwd.write_text(f"{USER}:*:{os.getuid()}:{os.getgid()}::{HOME}:/bin/bash\n{known}")
    run("mount", "--bind", str(passwd), "/etc/passwd")


class Machine:
    """One of the machines; ``directory`` is its /tmp."""

    def __init__(self, name: str, ip: str, directory: Path, wheels: Path) -> None:
        self.name = name
        self.ip = ip
        self.directory = directory
        self._wheels = wheels
        (directory / "wheels").mkdir()
        (directory / "sshd_config").write_text(SSHD_CONFIG)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / "host_key"))

    def start(self) -> None:
        """Start it; returns when it takes logins."""
        apart = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
        with (self.directory / "sshd.log").open("wb") as log:
            boot = ("sh", "-c", BOOT, str(self.directory), str(self._wheels))
            self._process = subprocess.Popen([*apart, *boot], stdout=log, stderr=log)
        pid = self._process.pid
        network = Path(f"/proc/{pid}/ns/net")
        wait_until(lambda: network.readlink() != Path("/proc/self/ns/net").readlink(), 10, f"{self.name} is apart")
        run("ip", *f"link add name {self.name} type veth peer name eth0 netns {pid}".split())
        run("ip", "link", "set", self.name, "master", BRIDGE, "up")
        for words in (
            "link set lo up", f"addr add {self.ip}/24 dev eth0", "link set eth0 up", f"route add default via {DESK_IP}"
        ):  # fmt: skip
            run("nsenter", f"--net={network}", "ip", *words.split())
        wait_until(self._takes_logins, 20, f"{self.name} takes logins")

    def stop(self) -> None:
        """Switch it off, with all that runs on it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def wait_idle(self, within_s: float) -> None:
        """Wait until nothing runs on it besides sshd; fails the test with what does."""
        deadline_s = time.monotonic() + within_s
        while found := self._processes():
            assert time.monotonic() < deadline_s, "\n".join([f"not within {within_s:g} s on {self.name}:", *found])
            time.sleep(0.5)

    def log_in(self, key: Path, *command: str) -> None:
        """Run ``command`` there."""
        run(*SSH, "-i", str(key), f"{USER}@{self.ip}", *command)

    def tunnel(self, key: Path, port: int) -> subprocess.Popen[bytes]:
        """Let it reach ``port`` of this test's loopback as a port of its own loopback."""
        forward = ("-N", "-o", "ExitOnForwardFailure=yes", "-R", f"127.0.0.1:{port}:127.0.0.1:{port}")
        return subprocess.Popen([*SSH, "-i", str(key), *forward, f"{USER}@{self.ip}"])

    def _processes(self) -> list[str]:
        here = Path(f"/proc/{self._process.pid}/ns/pid_for_children").readlink()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns" / "pid").readlink() == here and (process / "comm").read_text() != "sshd\n":
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:  # it has just ended
                continue
        return found

    def _takes_logins(self) -> bool:
        assert self._process.poll() is None, (self.directory / "sshd.log").read_text()
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((self.ip, 22)) == 0
