"""``hermes check``: what of a configuration would work now. It changes nothing at the broker and on the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import click

from hermes_ray.broker.connection import closing, connect
from hermes_ray.broker.queue_form import QueueLook, look_at
from hermes_ray.broker.reason import address
from hermes_ray.cli.working_directory import import_from_here, load_here
from hermes_ray.cluster.capacity import ClusterView
from hermes_ray.cluster.client import Deployment
from hermes_ray.cluster.connect import join_running_cluster
from hermes_ray.config.loading import parse_command
from hermes_ray.config.policy_params import worker_resources
from hermes_ray.config.settings import Config
from hermes_ray.config.sizes import amounts_text
from hermes_ray.core.allocate import Want, allocate
from hermes_ray.core.model import Capacity
from hermes_ray.deploy.preflight import import_paths, try_handlers
from hermes_ray.deploy.queues import unknown_arguments
from hermes_ray.deploy.scaler_place import metrics_problem, on_scalers_node, state_problem, tls_problem
from hermes_ray.errors import HermesError
from hermes_ray.scaler.plan import topology_of
from hermes_ray.worker.handlers import ASYNC_CONCURRENCY, run_close
from hermes_ray.worker.prefetch import slots_per_worker

__all__ = ["Finding", "check", "room"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: whether what it is ``about`` holds, and how; ``topic`` is None for what concerns all."""

    about: str
    topic: str | None
    ok: bool
    text: str


def check(words: Sequence[str], as_json: bool) -> int:
    """Print a line for everything the configuration needs; 0 if all of it is there."""
    config = parse_command(words).config
    import_from_here()
    findings = []
    for finding in _findings(config):
        findings.append(finding)
        if not as_json:
            about = f"{finding.about} {finding.topic}" if finding.topic else finding.about
            click.echo(f"{'ok' if finding.ok else 'FAILED':<6}  {about}: {finding.text}")
    ok = all(finding.ok for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": ok, "findings": [asdict(finding) for finding in findings]}))
    return 0 if ok else 1


def room(config: Config, capacity: Capacity) -> Iterator[Finding]:
    """How many workers of each topic fit, alone and when every topic has all it may have."""
    wants = [
        Want(
            topic=topic,
            weight=chosen.weight,
            minimum=chosen.workers.min,
            target=chosen.workers.max,
            size=worker_resources(chosen.worker),
        )
        for topic, chosen in config.topics.items()
    ]
    together = allocate(wants, capacity)
    for want in wants:
        alone = allocate([want], capacity)[want.topic]
        text = f"{alone} of workers.max {want.target} fit now, each takes {amounts_text(want.size)}"
        if together[want.topic] < alone:
            text += f"; {together[want.topic]} if every topic has its workers.max"
        ok = alone >= min(max(want.minimum, 1), want.target)
        yield Finding(about="room", topic=want.topic, ok=ok, text=text)


def _findings(config: Config) -> Iterator[Finding]:
    yield Finding(about="configuration", topic=None, ok=True, text=f"valid, {', '.join(config.topics)}")
    is_joined, error = False, None
    try:
        is_joined = join_running_cluster(config.deployment.name)
    except HermesError as raised:
        error = str(raised)
    no_broker = _no_broker(config)
    # A broker that is away is said once, below: handlers are tried without one then.
    tried = config if no_broker is None else replace(config, broker=replace(config.broker, url=[]))
    for topic in config.topics:
        yield _handler(tried, topic, on_cluster=is_joined)
    yield from _queues(config, no_broker)
    yield from _scaler(config, on_cluster=is_joined)
    if is_joined:
        yield from _cluster(config)
    else:
        text = error or "no Ray cluster runs here: hermes serve would start one"
        yield Finding(about="cluster", topic=None, ok=error is None, text=text)


def _handler(config: Config, topic: str, *, on_cluster: bool) -> Finding:
    chosen = config.topics[topic]
    try:
        default = (_default_slots if on_cluster else _default_slots_here)(config, topic)
    except HermesError as error:
        return Finding(about="handler", topic=topic, ok=False, text=str(error).removeprefix(f"topic {topic}: "))
    kind = "async" if default == ASYNC_CONCURRENCY else "sync"
    slots = slots_per_worker(chosen.worker.concurrency, chosen.worker.prefetch, default)
    where = "on the cluster" if on_cluster else "here"
    text = f"{chosen.handler} imports {where}: {kind}, {slots} slot{'s' if slots > 1 else ''} a worker"
    return Finding(about="handler", topic=topic, ok=True, text=text)


def _default_slots(config: Config, topic: str) -> int:
    """The slots that the handler's kind gives a worker, found out on the cluster as ``hermes serve`` does."""
    chosen = config.topics[topic]
    plain = replace(chosen, worker=replace(chosen.worker, concurrency=None, prefetch=None))
    return try_handlers(replace(config, topics={topic: plain}), [topic], import_paths())[topic]


def _default_slots_here(config: Config, topic: str) -> int:
    chosen = config.topics[topic]
    with contextlib.redirect_stdout(sys.stderr):  # what a handler's module prints would break the output of --json
        handler = load_here(chosen.handler, chosen.options)
        run_close(handler, asyncio.run)
    return handler.default_concurrency


def _scaler(config: Config, *, on_cluster: bool) -> Iterator[Finding]:
    """Whether the scaler would have its file and its port where it will be."""
    problem = on_scalers_node(state_problem, config) if on_cluster else state_problem(config)
    text = problem or f"{config.state_dir} can be written"
    yield Finding(about="state_dir", topic=None, ok=problem is None, text=text)
    if on_cluster and (problem := on_scalers_node(tls_problem, config)):  # those of this node are tried at the broker
        yield Finding(about="scaler", topic=None, ok=False, text=problem)
    url = _metrics_url(config.deployment.name) if on_cluster else None
    if config.metrics.port == 0 or (url is not None and url.endswith(f":{config.metrics.port}/metrics")):
        yield Finding(about="metrics", topic=None, ok=True, text=f"served at {url}" if url else "none are wanted")
        return
    problem = on_scalers_node(metrics_problem, config) if on_cluster else metrics_problem(config)
    text = problem or f"metrics.port {config.metrics.port} is free on {config.metrics.host}"
    yield Finding(about="metrics", topic=None, ok=problem is None, text=text)


def _metrics_url(name: str) -> str | None:
    """Where the deployment that runs serves its metrics."""
    try:
        url: str | None = Deployment.find(name).status()["metrics_url"]
    except HermesError:
        return None
    return url


def _no_broker(config: Config) -> str | None:
    """Why no broker answers here; None if one does."""
    try:
        connect(config.broker.urls, name=f"{config.deployment.name}/check").close()
    except HermesError as error:
        return str(error)
    return None


def _queues(config: Config, no_broker: str | None) -> Iterator[Finding]:
    if no_broker is not None:
        yield Finding(about="broker", topic=None, ok=False, text=no_broker)
        return
    urls = " or ".join(map(address, config.broker.urls))
    yield Finding(about="broker", topic=None, ok=True, text=f"{urls} answers")
    unknown, waiting = list(unknown_arguments(config)), deque(config.topics)
    while waiting:
        try:
            with closing(connect(config.broker.urls, name=f"{config.deployment.name}/check")) as connection:
                while waiting:
                    look = look_at(connection, topology_of(config, waiting[0]))
                    topic = waiting.popleft()
                    text = "; ".join([_holdings(look), *(said for of, said in unknown if of == topic)])
                    yield Finding(about="queue", topic=topic, ok=True, text=text)
        except HermesError as error:  # over what one topic asks for the broker may end the connection too
            yield Finding(about="queue", topic=waiting.popleft(), ok=False, text=str(error))


def _holdings(look: QueueLook) -> str:
    counts = ", ".join(
        f"{name} {'will be declared if this user may' if n is None else f'holds {n}'}"
        for name, n in look.ready_counts.items()
    )
    single = "its single active consumer keeps the topic at one worker and a standby"
    untold = f"its form is not told: {look.untold}"
    return "; ".join([counts, *([single] if look.single_active else []), *([untold] if look.untold else [])])


def _cluster(config: Config) -> Iterator[Finding]:
    capacity = _capacity(config)
    if capacity is None:
        yield Finding(about="cluster", topic=None, ok=False, text="the cluster does not tell its resources: try again")
        return
    nodes = len(capacity.nodes)
    free = sum(node.available.get("CPU", 0.0) for node in capacity.nodes)
    text = f"{nodes} node{'s' if nodes != 1 else ''}, {free:.3g} CPUs for this deployment"
    yield Finding(about="cluster", topic=None, ok=True, text=text)
    yield from room(config, capacity)


def _capacity(config: Config) -> Capacity | None:
    """Room for this deployment's workers, those that it has already counted as free."""
    sizes = {topic: worker_resources(chosen.worker) for topic, chosen in config.topics.items()}
    ours: dict[str, Counter[str]] = {}
    unplaced = []
    for worker in _living(config.deployment.name):
        takes, node_id = worker.get("resources") or sizes.get(worker["topic"], {}), worker["node"]
        if node_id is None:
            unplaced.append(takes)
        else:
            ours.setdefault(node_id, Counter()).update(takes)
    return ClusterView().capacity(ours, unplaced, sizes.values(), time.time())


def _living(name: str) -> list[dict[str, Any]]:
    try:
        return Deployment.find(name).workers()
    except HermesError:  # none runs, or its scaler is away: then its workers count as somebody else's
        return []
