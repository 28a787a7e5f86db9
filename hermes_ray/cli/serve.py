"""``hermes serve`` and ``hermes stop``: start a deployment, follow it, hand over the stop order."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

import click

from hermes_ray.config import parse_command
from hermes_ray.errors import OperationFailed, UserMistake
from hermes_ray.runtime.deployment import (
    Deployment,
    declare_queues,
    join_cluster,
    join_running_cluster,
    start_cluster,
    try_handlers,
)

__all__ = ["serve", "stop"]

POLL_S = 0.3
LINE_EVERY_S = 2.0
KILLED_BY_USER = 130
DETACH_WAIT_S = 180.0


def serve(words: Sequence[str]) -> int:
    """Run the deployment that ``words`` describe until it is stopped; 0 if every worker drained."""
    command = parse_command(words)
    config = command.config
    name = config.cluster.name
    joined = join_running_cluster(name)
    if joined:
        Deployment.refuse_second(name)
    elif command.detach:
        raise UserMistake("detach=true needs a running Ray cluster: one started here would end with this command")
    declare_queues(config)
    if not joined:
        start_cluster(name, apart=True)
    plan = try_handlers(config)
    signals = _Signals()
    deployment = Deployment.start(plan)
    say = _Lines()
    say(f"serving {', '.join(config.topics)} as deployment {name}")
    if command.detach:
        return _detach(deployment, signals, {topic: chosen.workers.min for topic, chosen in config.topics.items()})
    return _follow(deployment, signals, say)


def stop(words: Sequence[str]) -> int:
    """Drain the deployment of ``cluster.name`` and end it; 0 if every worker drained."""
    config = parse_command(words, need_topics=False).config
    join_cluster(config.cluster.name)
    deployment = Deployment.find(config.cluster.name)
    signals = _Signals()
    signals.count = 1
    news = deployment.follow(0)
    return _follow(deployment, signals, _Lines(), 0 if news is None else news["cursor"])


class _Signals:
    """Counts Ctrl-C and SIGTERM instead of dying of them: the first drains, a second kills."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


class _Lines:
    """Prints lines; without a terminal at most one each 2 s, what came between joined into it."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._last_s = 0.0

    def __call__(self, *lines: str, now: bool = False) -> None:
        self._waiting += lines
        due = now or sys.stdout.isatty() or time.monotonic() - self._last_s >= LINE_EVERY_S
        if self._waiting and due:
            click.echo(("\n" if sys.stdout.isatty() else " | ").join(self._waiting))
            sys.stdout.flush()
            self._waiting = []
            self._last_s = time.monotonic()


def _follow(deployment: Deployment, signals: _Signals, say: _Lines, cursor: int = 0) -> int:
    ordered = 0
    while True:
        if signals.count > ordered:
            ordered = signals.count
            left_s = round(deployment.stop(kill=ordered > 1), 1)
            how = "killing every worker" if ordered > 1 else f"draining every worker, for {left_s:.15g} s at most"
            say(f"stopping: {how}{'' if ordered > 1 else '; Ctrl-C again kills'}", now=True)
        news = deployment.follow(cursor)
        if news is not None:
            if news["cursor"] < cursor:  # the scaler was restarted: it counts from 0 again
                cursor = 0
                continue
            cursor = news["cursor"]
            say(*news["lines"])
            if news["result"] is not None:
                deployment.wait_gone()
                return _report(news["result"], ordered, say)
        time.sleep(POLL_S)


def _report(result: dict[str, Any], ordered: int, say: _Lines) -> int:
    killed = result["killed"]
    if killed:
        say(
            f"stopped: {killed} running handler{'s were' if killed > 1 else ' was'} killed; their messages are back in "
            "the queue",
            now=True,
        )
    else:
        say("stopped: every worker drained", now=True)
    if ordered > 1:
        return KILLED_BY_USER
    return 1 if killed else 0


def _detach(deployment: Deployment, signals: _Signals, minimums: Mapping[str, int]) -> int:
    """Wait until each topic that wants workers has one that consumes, then leave the deployment running."""
    deadline_s = time.monotonic() + DETACH_WAIT_S
    while time.monotonic() < deadline_s and not signals.count:
        topics = deployment.status()["topics"]
        errors = [f"{name}: {state['start_error']}" for name, state in topics.items() if state["start_error"]]
        if errors:
            raise OperationFailed(f"workers do not start: {'; '.join(errors)}; the scaler keeps trying: hermes status")
        if topics and all(_is_up(state, minimums[name]) for name, state in topics.items()):
            click.echo(f"deployment {deployment.name} is up and stays: hermes status shows it, hermes stop ends it")
            return 0
        time.sleep(POLL_S)
    raise OperationFailed("not every topic has a consuming worker yet; the deployment stays up: see hermes status")


def _is_up(state: Mapping[str, Any], minimum: int) -> bool:
    workers = state["workers"]
    return state["depth"] is not None and (workers["observed"] > 0 or not (workers["target"] or minimum))
