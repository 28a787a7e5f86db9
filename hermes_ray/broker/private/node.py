"""What a private RabbitMQ node is told: where its server is, its environment, configuration and definitions."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from hermes_ray.errors import OperationFailed

__all__ = ["NODE", "environment", "server_directory", "write_files"]

# Fixed, without host or port: RabbitMQ keeps data under the node's name, and a run under another would not find it.
NODE = "hermes@localhost"

SERVER_DIRECTORIES = (
    "/usr/lib/rabbitmq/bin",  # the scripts that Debian and Fedora have in PATH change the user; these do not
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
)
HOW_TO_GET_IT = (
    "RabbitMQ's server is not installed: get it with `apt-get install rabbitmq-server` (Debian, Ubuntu), "
    "`dnf install rabbitmq-server` (Fedora) or `brew install rabbitmq` (macOS), or set broker.url to a broker that runs"
)
LOOPBACK_ONLY = "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"

# Names are looked up here alone: needs no /etc/hosts, and Erlang starts no helper processes to resolve them.
HOSTS = """{lookup, [file]}.
{host, {127,0,0,1}, ["localhost"]}.
"""


def server_directory() -> Path:
    """Where the scripts ``rabbitmq-server`` and ``rabbitmqctl`` are; ``OperationFailed`` says how to get them."""
    found = shutil.which("rabbitmq-server")
    candidates = [*SERVER_DIRECTORIES, *([] if found is None else [str(Path(found).parent)])]
    for candidate in candidates:
        if (Path(candidate) / "rabbitmq-server").exists():
            return Path(candidate)
    raise OperationFailed(HOW_TO_GET_IT)


def write_files(directory: Path, *, port: int, vhosts: Sequence[str], settings: Sequence[str] = ()) -> None:
    """Write the node's configuration into ``directory``; a cookie that is there already is kept."""
    (directory / "log").mkdir(exist_ok=True)
    cookie = directory / ".erlang.cookie"
    if not cookie.exists():
        cookie.touch(mode=0o600)
        cookie.write_text(os.urandom(20).hex())
        cookie.chmod(0o400)
    (directory / "hosts").write_text(HOSTS)
    (directory / "enabled_plugins").write_text("[].\n")
    (directory / "definitions.json").write_text(json.dumps(_definitions(vhosts)))
    own = (f"listeners.tcp.1 = 127.0.0.1:{port}", f"load_definitions = {directory / 'definitions.json'}")
    (directory / "rabbitmq.conf").write_text("".join(f"{line}\n" for line in (*own, *settings)))


def environment(directory: Path, *, dist_port: int, epmd_port: int) -> dict[str, str]:
    """The whole environment of the node and its tools.

    Not ours: a RABBITMQ_ variable in it could give the node the ports or the data of another one.
    """
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(directory),
        "ERL_INETRC": str(directory / "hosts"),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_CRASH_DUMP_SECONDS": "0",
        "RABBITMQ_NODENAME": NODE,
        "RABBITMQ_DIST_PORT": str(dist_port),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "no-rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "no-advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(directory / "generated"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": LOOPBACK_ONLY,
        "RABBITMQ_CTL_ERL_ARGS": LOOPBACK_ONLY,
        # The script then execs the node. Else it would wait beside it, and a kill of its pid leave the node running.
        "RUNNING_UNDER_SYSTEMD": "true",
    }


def _definitions(vhosts: Sequence[str]) -> dict[str, object]:
    """What the node imports at boot: there a vhost costs milliseconds."""
    salt = os.urandom(4)
    user = {
        "name": "guest",
        "password_hash": base64.b64encode(salt + hashlib.sha256(salt + b"guest").digest()).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": "administrator",
    }
    names = ["/", *vhosts]
    grant = {"user": "guest", "configure": ".*", "write": ".*", "read": ".*"}
    return {
        "users": [user],
        "vhosts": [{"name": name} for name in names],
        "permissions": [grant | {"vhost": name} for name in names],
    }
