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
from hermes_ray.cluster.capacity import node_totals
from hermes_ray.cluster.client import AlreadyStarted, Deployment, Gone, Refused, Silent
from hermes_ray.cluster.connect import rejoin_cluster
from hermes_ray.cluster.packages import has_own_copy, job_environment, lost_packages
from hermes_ray.config.policy_params import worker_resources
from hermes_ray.config.settings import Config
from hermes_ray.config.sizes import amounts_text
from hermes_ray.core.resources import fit_count, free_of, size_of
from hermes_ray.deploy.changes import Change, applied, compare
from hermes_ray.deploy.fingerprint import code_identity
from hermes_ray.deploy.former import former_of
from hermes_ray.deploy.preflight import import_paths, try_handlers
from hermes_ray.deploy.queues import BROKER_WAIT_S, declare_queues, single_active_topics, unknown_arguments
from hermes_ray.deploy.scaler_place import on_scalers_node, state_problem, tls_problem
from hermes_ray.errors import OperationFailed, UserMistake
from hermes_ray.scaler.plan import Owner, Plan, revision

__all__ = ["Applied", "apply", "former_plan", "reach_broker", "rollback", "this_command"]

Say = Callable[[str], None]

STOPPING_WAIT_S = 60.0
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply of ``config`` came to: ``changes`` is None for a deployment that did not run before."""

    deployment: Deployment
    config: Config
    changes: list[Change] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Before:
    """What runs: as its scaler tells the next apply (``Scaler.applied``), and the plan itself, None if it cannot."""

    applied: Mapping[str, Any]
    plan: Plan | None


def reach_broker(config: Config) -> None:
    """Wait up to 30 s for the broker; raises ``OperationFailed`` with one sentence."""
    connect(config.broker.urls, name=f"{config.deployment.name}/serve", wait_s=BROKER_WAIT_S).close()


def this_command(name: str, *, stays: bool = False) -> Owner:
    """This process, ``hermes NAME``, as the owner of what it applies."""
    label = f"hermes {name}, pid {os.getpid()} on {socket.gethostname()}"
    return Owner(key=secrets.token_hex(8), label=label, stays=stays)


def apply(config: Config, owner: Owner, *, roll: bool, say: Say, before_touching: Callable[[], object]) -> Applied:
    """Bring the deployment of ``deployment.name`` to ``config`` and the code of this working directory.

    Handlers of what is new are tried before anything is touched; up to ``before_touching`` the caller may be
    interrupted, and nothing has happened. Raises ``OperationFailed`` if one fails, or if no scaler comes up in the end:
    workers consume on then, and the next apply heals it.
    """
    return _bring(config, owner, lambda before: _wanted(config, owner, before, roll=roll), say, before_touching)


def rollback(name: str, owner: Owner, *, say: Say, before_touching: Callable[[], object]) -> Applied:
    """Apply again what ran before, settings and code; what runs now is the former then. As ``apply`` in all else.

    Raises ``UserMistake`` if there is no such deployment, or no copy of the former code any more.
    """
    former = former_plan(Deployment.find(name))
    rejoin_cluster(name, former.environment)
    reach_broker(former.config)

    def wanted(before: _Before | None) -> Plan:
        running = None if before is None else before.plan
        seen = None if running is None or running.former is None else running.former.generation
        if before is None or running is None or seen != former.generation:
            raise OperationFailed(f"deployment {name} has changed meanwhile: see hermes status, and repeat")
        return replace(
            former,
            generation=_next_generation(before),
            applied_at=time.time(),
            owner=owner,
            former=replace(running, former=None),
            former_rungs_ms=_rungs_ms(before),
        )

    return _bring(former.config, owner, wanted, say, before_touching)


def former_plan(deployment: Deployment) -> Plan:
    """What a rollback of ``deployment`` goes back to; raises ``UserMistake`` saying why there is nothing."""
    running, name = deployment.plan(), deployment.name
    former = None if running is None else running.former
    if former is None:
        raise UserMistake(f"deployment {name} cannot roll back: nothing is known of what ran before")
    if not has_own_copy(former.environment):
        places = ", ".join(former.import_paths)
        raise UserMistake(
            f"deployment {name} cannot roll back: its former code was read from {places}, of which there is no copy: "
            "put it back there and run hermes apply (jobs leave one: ray job submit --working-dir . -- hermes apply)"
        )
    if lost := lost_packages(former.environment):
        raise UserMistake(
            f"deployment {name} cannot roll back: Ray no longer has its former code ({', '.join(lost)}): "
            "submit that again, as a job that runs hermes apply"
        )
    return former


def _bring(
    config: Config,
    owner: Owner,
    wanted: Callable[[_Before | None], Plan],
    say: Say,
    before_touching: Callable[[], object],
) -> Applied:
    """Replace what runs by what is ``wanted`` in view of it, which a handler that fails can still prevent."""
    for _, said in unknown_arguments(config):
        say(said)
    for _ in range(TRIES):
        running = _settled(config, say)
        before = None if running is None else _before(running)
        plan = _tried(wanted(before), before)
        changes = None if before is None else compare(before.applied, plan)
        _refuse_a_place_without_files(config, before)
        before_touching()
        if running is not None and changes == []:
            try:
                running.own(owner)
            except Gone:  # another command replaces it at this moment
                continue
            return Applied(deployment=running, config=config, changes=changes)
        with contextlib.suppress(AlreadyStarted):
            declare_queues(config)
            try:
                if running is not None and not running.hand_over(plan):
                    say(f"the scaler of {config.deployment.name} did not answer: it was killed, another takes over")
            except Refused:
                if running is not None and _is_stopping(running):
                    continue
                raise
            return Applied(deployment=Deployment.start(plan), config=config, changes=changes)
    raise OperationFailed(f"other commands keep applying to deployment {config.deployment.name}: run this one again")


def _settled(config: Config, say: Say) -> Deployment | None:
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


def _before(running: Deployment) -> _Before | None:
    """What runs; None if its scaler does not say: then it is replaced, and so are all workers that differ."""
    try:
        said = running.applied()
    except OperationFailed:
        return None
    try:
        return _Before(applied=said, plan=running.plan())
    except Silent:  # to go on without would lose what a rollback goes back to
        raise
    except OperationFailed:  # a scaler of before there was a rollback
        return _Before(applied=said, plan=None)


def _wanted(config: Config, owner: Owner, before: _Before | None, *, roll: bool) -> Plan:
    """``config`` with the code of this working directory; handlers are yet to be tried."""
    generation = _next_generation(before)
    plan = Plan(
        config=config,
        concurrency={},
        import_paths=import_paths(),
        generation=generation,
        applied_at=time.time(),
        rolled=generation if roll else 0 if before is None else before.applied["rolled"],
        code=code_identity(Path.cwd(), [topic.handler for topic in config.topics.values()]),
        owner=owner,
        former_rungs_ms=_rungs_ms(before),
        environment=job_environment(),
    )
    running = None if before is None else before.plan
    return plan if running is None else replace(plan, former=former_of(running, plan))


def _next_generation(before: _Before | None) -> int:
    now = int(time.time() * 1000)
    return now if before is None else max(now, before.applied["generation"] + 1)


def _rungs_ms(before: _Before | None) -> dict[str, tuple[int, ...]]:
    return {} if before is None else {topic: tuple(ms) for topic, ms in before.applied["rungs_ms"].items()}


def _tried(draft: Plan, before: _Before | None) -> Plan:
    """The plan, once the handlers of the topics that change in it were tried, with what was learnt of their slots."""
    config, known = draft.config, {} if before is None else before.applied["revisions"]
    changed = [topic for topic in config.topics if known.get(topic) != revision(draft, topic)]
    slots = {} if before is None else before.applied["concurrency"]
    _refuse_what_fits_nowhere(config, changed)
    single_active = single_active_topics(config)
    tried = try_handlers(config, changed, draft.import_paths)
    plan = replace(draft, concurrency={topic: tried.get(topic) or slots[topic] for topic in config.topics})
    plan = replace(plan, single_active=single_active)
    return replace(plan, applied=applied(plan))


def _refuse_a_place_without_files(config: Config, before: _Before | None) -> None:
    """Raise ``UserMistake`` for a new ``state_dir`` that takes no checkpoint, as a restarted scaler would know nothing,
    and for files of TLS that the scaler does not have: it would see no depths.
    """
    is_tls = any(url.lower().startswith("amqps:") for url in config.broker.urls)
    if is_tls and (problem := on_scalers_node(tls_problem, config)):
        raise UserMistake(f"nothing was applied: {problem}")
    running = None if before is None else before.plan
    if running is not None and running.config.state_dir == config.state_dir:
        return  # what is wrong with it now, such as a full disk, is told by the scaler that uses it
    if problem := on_scalers_node(state_problem, config):
        raise UserMistake(f"nothing was applied: {problem}")


def _refuse_what_fits_nowhere(config: Config, topics: Iterable[str]) -> None:
    """Raise ``UserMistake`` for a worker that even an empty node cannot hold: it would be waited for for ever, and
    replacing living ones would end them.
    """
    nodes = [free_of(node) for node in node_totals()]
    for topic in topics:
        wanted = worker_resources(config.topics[topic].worker)
        size = size_of(wanted)
        if nodes and size and not any(fit_count(node, size) for node in nodes):
            most = {name: max(node.get(name, 0.0) for node in node_totals()) for name in wanted}
            raise UserMistake(
                f"topics.{topic}.worker takes {amounts_text(wanted)}, which no node has: lower it or add a larger node "
                f"(at most a node has {amounts_text(most)})"
            )
