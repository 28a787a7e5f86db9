"""Looking whether a scaler can have its files and its port on the node where it will be, before there is one."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from hermes_ray.broker.connection import parameters
from hermes_ray.cluster.tasks import TaskFailed, TaskTimedOut, start_once
from hermes_ray.config.settings import Config
from hermes_ray.errors import OperationFailed, UserMistake
from hermes_ray.scaler.checkpoint import checkpoint_path
from hermes_ray.telemetry.exporter import Exporter

__all__ = ["metrics_problem", "on_scalers_node", "state_problem", "tls_problem"]

LOOK_TIMEOUT_S = 60.0


def state_problem(config: Config) -> str | None:
    """Why no checkpoint can be written on this machine, in a sentence; None if one can. Leaves nothing behind."""
    try:
        directory = checkpoint_path(config.state_dir, config.broker.urls, config.deployment.name).parent
    except OperationFailed as error:
        return str(error)
    missing: list[Path] = []
    try:
        missing = [path for path in (directory, *directory.parents) if not path.exists()]
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=directory):
            return None
    except OSError as error:
        return (
            f"state_dir is {config.state_dir!r}, where the scaler cannot write its checkpoint ({error.strerror}): "
            "name a directory on its node, normally the head, that it may create and write"
        )
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


def tls_problem(config: Config) -> str | None:
    """Why a file of the broker's TLS cannot be used on this machine, in a sentence; None if all can."""
    try:
        for url in config.broker.urls:
            parameters(url, name="")
    except UserMistake as mistake:
        return str(mistake)
    return None


def metrics_problem(config: Config) -> str | None:
    """Why no metrics can be served on this machine, in a sentence; None if they can, or are not wanted."""
    exporter = Exporter(config.metrics.host, config.metrics.port, lambda: None, lambda: None)
    exporter.close()
    return exporter.warning


def on_scalers_node(problem: Callable[[Config], str | None], config: Config) -> str | None:
    """What ``problem`` finds on the node of the cluster where scalers start; None too where that does not answer."""
    try:
        found: str | None = start_once(problem, config, on_head=True)(LOOK_TIMEOUT_S)
    except (TaskFailed, TaskTimedOut):
        return None
    return found
