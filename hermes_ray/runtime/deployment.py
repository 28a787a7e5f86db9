"""A deployment seen from outside: reach the cluster, try the handlers, start the scaler, find it again."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from hermes_ray.broker.connection import connect
from hermes_ray.broker.topology import ensure
from hermes_ray.config import Config
from hermes_ray.errors import OperationFailed, UserMistake
from hermes_ray.runtime.cluster import SCALER_NAME, use_token_if_there_is_one
from hermes_ray.runtime.crew import topology_of
from hermes_ray.runtime.handlers import import_from, load_handler, run_close
from hermes_ray.runtime.pool import cause_text, create_scaler, find_scaler, run_once
from hermes_ray.runtime.scaler import Plan, Scaler

__all__ = ["Deployment", "declare_queues", "join_cluster", "join_running_cluster", "start_cluster", "stop_cluster"]
__all__ += ["try_handlers"]

BROKER_WAIT_S = 30.0
TRIAL_TIMEOUT_S = 120.0
SCALER_START_S = 60.0
CALL_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
STDERR = 2


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


def start_cluster(namespace: str, num_cpus: int | None = None, *, apart: bool = False) -> str:
    """Start a local Ray, of ``num_cpus`` CPUs if given, real or not; returns its dashboard's host:port.

    It ends with this process. ``apart`` gives it a process group of its own, so that what signals ours leaves it alive
    for a drain.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with _quiet(), _process_group_of_its_own() if apart else contextlib.nullcontext():
        context = ray.init(
            address="local",
            namespace=namespace,
            num_cpus=num_cpus,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    return str(context.dashboard_url)


def stop_cluster() -> None:
    """Leave the cluster; one that was started here ends, with all its workers."""
    ray.shutdown()


def declare_queues(config: Config) -> None:
    """Make sure every topic's queues exist; waits up to 30 s for the broker."""
    connection = connect(config.broker.urls, name=f"{config.cluster.name}/serve", wait_s=BROKER_WAIT_S)
    with contextlib.closing(connection):
        ensure(connection, [topology_of(config, topic) for topic in config.topics])


class Deployment:
    """A running deployment: its scaler, asked with a time limit."""

    def __init__(self, name: str, scaler: Any) -> None:
        self.name = name
        self._scaler = scaler

    @classmethod
    def find(cls, name: str) -> Deployment:
        """The deployment called ``name``; raises ``UserMistake`` naming the ones there are."""
        scaler = find_scaler(name)
        if scaler is None:
            raise UserMistake(_no_deployment(name))
        return cls(name, scaler)

    @staticmethod
    def refuse_second(name: str) -> None:
        """Raise ``UserMistake`` if a deployment of this name runs."""
        if find_scaler(name) is not None:
            raise UserMistake(
                f"a deployment named {name} is running already: hermes stop ends it, another cluster.name is beside it"
            )

    @classmethod
    def start(cls, plan: Plan) -> Deployment:
        """Start the scaler of ``plan``; raises if one runs already."""
        name = plan.config.cluster.name
        try:
            deployment = cls(name, create_scaler(Scaler, name, plan))
            deployment._ask("ping", timeout_s=SCALER_START_S)
        except ValueError:  # another serve was faster
            cls.refuse_second(name)
            raise
        except RayError as error:
            raise OperationFailed(f"the scaler did not start: {cause_text(error)}") from error
        return deployment

    def status(self) -> dict[str, Any]:
        """See ``Scaler.status``."""
        answer: dict[str, Any] = self._ask("status")
        return answer

    def follow(self, cursor: int) -> dict[str, Any] | None:
        """See ``Scaler.follow``; None while the scaler is away, which Ray restarts."""
        try:
            answer: dict[str, Any] = self._ask("follow", cursor)
        except OperationFailed:
            if find_scaler(self.name) is None:
                raise
            return None
        return answer

    def stop(self, kill: bool = False) -> float:
        """Hand over the stop order; returns, once the scaler has it, the seconds that running handlers have."""
        left_s: float = self._ask("stop", kill)
        return left_s

    def wait_gone(self, timeout_s: float = 10.0) -> None:
        """Wait until the stopped scaler has left its name to the next one."""
        deadline_s = time.monotonic() + timeout_s
        while find_scaler(self.name) is not None and time.monotonic() < deadline_s:
            time.sleep(0.05)

    def _ask(self, method: str, *arguments: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        try:
            return ray.get(getattr(self._scaler, method).remote(*arguments), timeout=timeout_s)
        except GetTimeoutError as error:
            raise OperationFailed(f"the scaler of {self.name} did not answer within {timeout_s:.0f} s") from error
        except RayError as error:
            raise OperationFailed(f"the scaler of {self.name} is gone: {cause_text(error)}") from error


def try_handlers(config: Config) -> Plan:
    """Load every topic's handler on the cluster as a worker would; raises ``OperationFailed`` with the error's text."""
    paths = _import_paths()
    concurrency = {topic: _try_handler(config, topic, paths) for topic in config.topics}
    return Plan(config=config, concurrency=concurrency, import_paths=paths)


def _try_handler(config: Config, topic: str, paths: tuple[str, ...]) -> int:
    """Load the topic's handler on the cluster as a worker would; returns the slots its workers have."""
    chosen = config.topics[topic]
    try:
        default: int = run_once(_trial, chosen.handler, chosen.options, paths, timeout_s=TRIAL_TIMEOUT_S)
    except GetTimeoutError as error:
        raise OperationFailed(
            f"topic {topic}: handler {chosen.handler} did not load in {TRIAL_TIMEOUT_S:.0f} s"
        ) from error
    except RayTaskError as error:
        raise OperationFailed(f"topic {topic}: {error.cause}") from error
    except RayError as error:
        raise OperationFailed(f"topic {topic}: {chosen.handler} cannot be tried: {cause_text(error)}") from error
    return chosen.worker.concurrency or default


def _trial(handler: str, options: Mapping[str, Any], paths: tuple[str, ...]) -> int:
    import asyncio

    import_from(paths)
    loaded = load_handler(handler, options)
    run_close(loaded, asyncio.run, 10.0)
    return loaded.default_concurrency


def _import_paths() -> tuple[str, ...]:
    """Where this driver's handlers are: its working directory, then its PYTHONPATH."""
    listed = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return tuple(dict.fromkeys(str(Path(path).resolve()) for path in (os.curdir, *listed)))


def _join(namespace: str) -> bool:
    address = os.environ.get("RAY_ADDRESS", "auto")
    if address != "auto" and not _is_jobs_address(address) and not _answers(address):
        return False
    try:
        with _quiet():
            use_token_if_there_is_one()
            ray.init(
                address="auto" if _is_jobs_address(address) else address,
                namespace=namespace,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, ValueError, RuntimeError):
        return False
    return True


def _answers(address: str) -> bool:
    """Whether anybody listens there; Ray itself would try for minutes."""
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
    """Ray prints warnings of its own while it looks for a cluster, from C++ too; what matters is in our sentences."""
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


def _no_deployment(name: str) -> str:
    names = sorted(a["namespace"] for a in ray.util.list_named_actors(all_namespaces=True) if a["name"] == SCALER_NAME)
    if not names:
        return f"no deployment runs on this cluster: start one with hermes serve (looked for cluster.name={name})"
    near = get_close_matches(name, names, 1, 0) or names
    return f"no deployment named {name} runs on this cluster, but {', '.join(names)} does: say cluster.name={near[0]}"
