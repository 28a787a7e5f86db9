"""Reaching the Ray cluster: the one that runs, or one of our own."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import ray
from ray.exceptions import RpcError

from hermes_ray.cluster.authentication import present_token
from hermes_ray.cluster.ray_private import cluster_addresses, drop_raylet_news
from hermes_ray.errors import OperationFailed, UserMistake

__all__ = ["join_cluster", "join_running_cluster", "rejoin_cluster", "start_cluster", "stop_cluster"]

CONNECT_TIMEOUT_S = 5.0
STDERR = 2
_GAVE_UP = "timed out during startup"


def join_running_cluster(namespace: str) -> bool:
    """Connect to the cluster of ``RAY_ADDRESS`` or to one that runs on this machine; False if there is none here.

    Raises ``UserMistake`` if ``RAY_ADDRESS`` names one that does not answer.
    """
    if _join(namespace):
        return True
    address = os.environ.get("RAY_ADDRESS", "")
    if not _is_jobs_address(address):
        raise UserMistake(
            f"no Ray cluster answers at RAY_ADDRESS={address}: start it, correct it, or unset it to start one here"
        )
    return False


def join_cluster(namespace: str) -> None:
    """Connect to the running cluster; raises ``UserMistake`` if there is none."""
    if not join_running_cluster(namespace):
        raise UserMistake("no Ray cluster is running on this machine: start one with hermes serve, or set RAY_ADDRESS")


def rejoin_cluster(namespace: str, environment: Mapping[str, Any]) -> None:
    """Leave the cluster, and join it again as a job with this runtime environment; raises ``OperationFailed``.

    An actor that was given one of its own would not do: Ray puts the working directory of a job that has none before
    it on the path, so a rollback ordered from the new checkout would run the new code.
    """
    stop_cluster()
    os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"  # else a submitted job, which has one, is refused another
    if not _join(namespace, environment):
        raise OperationFailed("the Ray cluster does not answer any more: nothing was changed")


def start_cluster(namespace: str, num_cpus: int | None = None, *, apart: bool = False) -> str:
    """Start a local Ray, of ``num_cpus`` CPUs if given, real or not; returns its dashboard's host:port.

    It ends with this process. ``apart`` gives it a process group of its own, so that what signals ours leaves it alive
    for a drain. Raises ``OperationFailed`` where Ray gives up on its own processes.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    drop_raylet_news()
    try:
        with _quiet(), _process_group_of_its_own() if apart else contextlib.nullcontext():
            context = ray.init(
                address="local",
                namespace=namespace,
                num_cpus=num_cpus,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except Exception as error:
        if _GAVE_UP not in str(error):
            raise
        raise OperationFailed(
            "a local Ray did not start within the 30 s that Ray gives itself: this machine has too much other work, or "
            "too little memory; try again when it has less"
        ) from error
    return str(context.dashboard_url)


def stop_cluster() -> None:
    """Leave the cluster; one that was started here ends, with all its workers."""
    ray.shutdown()


def _join(namespace: str, environment: Mapping[str, Any] | None = None) -> bool:
    address = os.environ.get("RAY_ADDRESS", "")
    if address == "auto" or _is_jobs_address(address):
        address = _on_this_machine()
    if not _is_listening(address):
        return False
    drop_raylet_news()
    try:
        with _quiet():
            present_token(address)
            ray.init(
                address=address,
                namespace=namespace,
                runtime_env=dict(environment) if environment else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, ValueError, RuntimeError, RpcError):
        return False
    return True


def _on_this_machine() -> str:
    """The last cluster that ``ray start`` noted, which may be gone since, or any that runs here; else empty."""
    return next(filter(_is_listening, cluster_addresses()), "")


def _is_listening(address: str) -> bool:
    """Whether ``address`` accepts a TCP connection. Asked first, since Ray retries a dead address for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True


def _is_jobs_address(address: str) -> bool:
    """``ray job submit`` reads an HTTP address from the same variable."""
    return address.startswith(("http://", "https://")) or not address


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send file descriptor 2 to /dev/null meanwhile.

    While Ray looks for a cluster its C++ code writes warnings there, before the sentence that the command answers with.
    """
    sys.stderr.flush()
    saved, nowhere = os.dup(STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, STDERR)
        os.close(saved)
        os.close(nowhere)


@contextlib.contextmanager
def _process_group_of_its_own() -> Iterator[None]:
    """Children started here get a process group apart from ours.

    A terminal, ``timeout`` and many supervisors signal the whole group: Ray would end before we have drained.
    """
    ours = os.getpgrp()
    try:
        os.setpgid(0, 0)
    except PermissionError:  # the leader of a session cannot leave its group
        yield
        return
    try:
        yield
    finally:
        os.setpgid(0, ours)
