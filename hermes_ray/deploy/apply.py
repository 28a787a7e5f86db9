"""Making what runs follow a configuration: try first, then let the next scaler take over from the one there is."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hermes_ray.broker.connection import connect
from hermes_ray.broker.topology import ensure
from hermes_ray.cluster.capacity import node_totals
from hermes_ray.cluster.client import Deployment, Refused, Taken
from hermes_ray.config.settings import Config, worker_resources
from hermes_ray.core.resources import fit_count, free_of, size_of, words
from hermes_ray.deploy.changes import Change, applied, compare
from hermes_ray.deploy.fingerprint import code_identity
from hermes_ray.deploy.preflight import import_paths, try_handlers
from hermes_ray.errors import OperationFailed, UserMistake
from hermes_ray.scaler.plan import Owner, Plan, revision, topology_of

__all__ = ["Applied", "apply", "reach_broker", "this_command"]

BROKER_WAIT_S = 30.0
STOPPING_WAIT_S = 60.0
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply came to: ``changes`` is None for a deployment that did not run before."""

    deployment: Deployment
    changes: list[Change] | None


def reach_broker(config: Config) -> None:
    """Wait up to 30 s for the broker; raises ``OperationFailed`` with one sentence."""
    connect(config.broker.urls, name=f"{config.deployment.name}/serve", wait_s=BROKER_WAIT_S).close()


def _declare_queues(config: Config) -> None:
    """Make sure every topic's queues exist; waits up to 30 s for the broker."""
    connection = connect(config.broker.urls, name=f"{config.deployment.name}/serve", wait_s=BROKER_WAIT_S)
    with contextlib.closing(connection):
        ensure(connection, [topology_of(config, topic) for topic in config.topics])


def this_command(*, stays: bool) -> Owner:
    """This process as the owner of what it applies."""
    label = f"hermes {'serve' if stays else 'apply'}, pid {os.getpid()} on {socket.gethostname()}"
    return Owner(key=secrets.token_hex(8), label=label, stays=stays)


def apply(
    config: Config, owner: Owner, *, roll: bool, say: Callable[[str], None], before_touching: Callable[[], object]
) -> Applied:
    """Bring the deployment of ``deployment.name`` to ``config`` and the code of this working directory.

    Handlers of what is new are tried before anything is touched; up to ``before_touching`` the caller may be
    interrupted, and nothing has happened. Raises ``OperationFailed`` if one fails, or if no scaler comes up in the end:
    workers consume on then, and the next apply heals it.
    """
    for _ in range(TRIES):
        running = _settled(config, say)
        before = None if running is None else _running_plan(running)
        plan = _plan(config, owner, before, roll=roll)
        changes = None if before is None else compare(before, plan)
        before_touching()
        if running is not None and changes == []:
            running.own(owner)
            return Applied(deployment=running, changes=changes)
        with contextlib.suppress(Taken):
            _declare_queues(config)
            try:
                if running is not None:
                    running.hand_over(plan)
            except Refused:
                if running is not None and _is_stopping(running):
                    continue
                raise
            return Applied(deployment=Deployment.start(plan), changes=changes)
    raise OperationFailed(f"other commands keep applying to deployment {config.deployment.name}: run this one again")


def _settled(config: Config, say: Callable[[str], None]) -> Deployment | None:
    """The deployment there is; one that is stopping is waited for."""
    deadline_s = time.monotonic() + STOPPING_WAIT_S + config.drain_timeout_s
    while (running := Deployment.running(config.deployment.name)) is not None and _is_stopping(running):
        say(f"deployment {config.deployment.name} is stopping: waiting for its end")
        if not running.wait_gone(max(0.0, deadline_s - time.monotonic())):
            raise OperationFailed(
                f"deployment {config.deployment.name} is still stopping: run this again once it has ended"
            )
    return running


def _is_stopping(running: Deployment) -> bool:
    try:
        return bool(running.status()["stopping"])
    except OperationFailed:
        return False


def _running_plan(running: Deployment) -> Mapping[str, Any] | None:
    """What runs; None if its scaler does not say: then it is replaced, and so are all workers that differ."""
    try:
        return running.applied()
    except OperationFailed:
        return None


def _plan(config: Config, owner: Owner, before: Mapping[str, Any] | None, *, roll: bool) -> Plan:
    now = int(time.time() * 1000)
    generation = now if before is None else max(now, before["generation"] + 1)
    rolled = generation if roll else 0 if before is None else before["rolled"]
    handlers = [topic.handler for topic in config.topics.values()]
    draft = Plan(
        config=config,
        concurrency={},
        import_paths=import_paths(),
        generation=generation,
        rolled=rolled,
        code=code_identity(Path.cwd(), handlers),
        owner=owner,
        former_rungs_ms={} if before is None else {t: tuple(ms) for t, ms in before["rungs_ms"].items()},
    )
    known = {} if before is None else before["revisions"]
    changed = [topic for topic in config.topics if known.get(topic) != revision(draft, topic)]
    slots = {} if before is None else before["concurrency"]
    _refuse_what_fits_nowhere(config, changed)
    tried = try_handlers(config, changed, draft.import_paths)
    plan = replace(draft, concurrency={topic: tried.get(topic) or slots[topic] for topic in config.topics})
    return replace(plan, applied=applied(plan))


def _refuse_what_fits_nowhere(config: Config, topics: Iterable[str]) -> None:
    """Raise ``UserMistake`` for a worker that even an empty node cannot hold: it would be waited for for ever, and
    replacing living ones would end them.
    """
    nodes = [free_of(node) for node in node_totals()]
    for topic in topics:
        wanted = worker_resources(config.topics[topic].worker)
        size = size_of(wanted)
        if nodes and size and not any(fit_count(node, size) for node in nodes):
            raise UserMistake(
                f"topics.{topic}.worker takes {words(wanted)}, which no node has: lower it or add a larger node"
            )
