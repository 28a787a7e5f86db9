"""``hermes serve``, ``apply``, ``rollback`` and ``stop``: apply, follow the deployment, hand over the stop order."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

import click

from hermes_ray.cli.group import output_failed
from hermes_ray.cli.remarks import neighbours, ruling
from hermes_ray.cli.working_directory import import_from_here
from hermes_ray.cluster.client import Deployment
from hermes_ray.cluster.connect import join_cluster, join_running_cluster, start_cluster
from hermes_ray.cluster.orphans import drain_without_scaler, forget_overrides, orphans
from hermes_ray.config.loading import COMMAND_WORDS, parse_command, split_words
from hermes_ray.deploy.apply import Applied, apply, reach_broker, this_command
from hermes_ray.deploy.apply import rollback as go_back
from hermes_ray.errors import OperationFailed, UserMistake

__all__ = ["rollback", "serve", "serve_detached", "stop"]

POLL_S = 0.3
LINE_EVERY_S = 2.0
KILLED_BY_USER = 130
DETACH_WAIT_S = 180.0
SCALER_WAIT_S = 10.0  # between two scalers of an apply a second passes, on a busy machine some


def serve(words: Sequence[str]) -> int:
    """Apply the configuration that ``words`` describe and follow the deployment until it is stopped or superseded.

    0 if every worker drained, or if another command owns the deployment now.
    """
    command = parse_command(words)
    import_from_here()
    config, name = command.config, command.config.deployment.name
    joined = join_running_cluster(name)
    if command.detach and not joined:
        raise UserMistake("detach=true needs a running Ray cluster: one started here would end with this command")
    reach_broker(config)
    if not joined:
        start_cluster(name, apart=True)
    signals, say = _Signals(), _Lines()
    owner = this_command("apply" if command.detach else "serve", stays=not command.detach)
    applied = apply(config, owner, roll=command.roll, say=say, before_touching=signals.take_over)
    _print_applied(applied, say)
    if command.detach:
        return _detach(applied, signals, owner.key)
    return _follow(applied.deployment, signals, say, driver=owner.key, hosts=not joined)


def serve_detached(words: Sequence[str]) -> int:
    """``hermes apply``: apply the configuration that ``words`` describe and leave the deployment running."""
    own, _ = split_words(words, COMMAND_WORDS)
    if own.get("detach", "true") != "true":
        raise UserMistake(f"detach is {own['detach']!r}: hermes apply always detaches; hermes serve follows instead")
    return serve([*words, "detach=true"])


def rollback(words: Sequence[str]) -> int:
    """Apply again what ran in ``deployment.name`` before, settings and code, and leave the deployment running."""
    name = parse_command(words, need_topics=False).config.deployment.name
    join_cluster(name)
    signals, say = _Signals(), _Lines()
    owner = this_command("rollback")
    applied = go_back(name, owner, say=say, before_touching=signals.take_over)
    _print_applied(applied, say)
    return _detach(applied, signals, owner.key)


def stop(words: Sequence[str]) -> int:
    """Drain the deployment of ``deployment.name`` and end it; 0 if every worker drained."""
    config = parse_command(words, need_topics=False).config
    name = config.deployment.name
    join_cluster(name)
    say = _Lines()
    deployment = Deployment.running(name)
    if deployment is None and orphans(name):
        say(f"deployment {name} has no scaler: waiting {SCALER_WAIT_S:.0f} s for one that an apply may be starting")
        deployment = Deployment.appears(name, SCALER_WAIT_S)
    if deployment is None and orphans(name):
        say(f"deployment {name} has no scaler: draining its workers, for {config.drain_timeout_s:.15g} s at most")
        killed_count = drain_without_scaler(name, config.drain_timeout_s)
        forget_overrides(config)
        return _print_end({"killed": killed_count}, 1, say)
    deployment = deployment or Deployment.find(name)
    signals = _Signals()
    signals.take_over()
    signals.count = 1
    news = deployment.follow(0)
    return _follow(deployment, signals, say, 0 if news is None else news["cursor"])


class _Signals:
    """Counts Ctrl-C and SIGTERM instead of dying of them: the first drains, a second kills.

    ``ordered``: how many of them the scaler knows of. Nobody kills who has not read yet that it would.
    """

    def __init__(self) -> None:
        self.count = self.ordered = 0
        self._is_told = False

    def due(self) -> int:
        """What is to be ordered now: 1 a drain, 2 a kill, 0 nothing."""
        wanted = min(self.count, 2 if self._is_told else 1)
        return wanted if wanted > self.ordered else 0

    def given(self, order: int) -> None:
        """The scaler has it, and whoever sends signals was told."""
        if not self._is_told:
            self.count, self._is_told = order, True
        self.ordered = order

    def take_over(self) -> None:
        """From now on; before, they end this process as they do any other."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


class _Lines:
    """Prints lines; without a terminal at most one each 2 s, what came between joined into it.

    Where nobody reads them any more the command says so and goes on: a reader has no say in what becomes of the
    deployment.
    """

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._last_s = 0.0

    def __call__(self, *lines: str, now: bool = False) -> None:
        self._waiting += lines
        due = now or _is_terminal() or time.monotonic() - self._last_s >= LINE_EVERY_S
        if self._waiting and due:
            try:
                click.echo(("\n" if _is_terminal() else " | ").join(self._waiting))
                if sys.stdout is not None:
                    sys.stdout.flush()
            except OSError as error:
                output_failed(error)
                with suppress(OSError):
                    click.echo("hermes: nobody reads the output any more; the deployment goes on without", err=True)
            self._waiting = []
            self._last_s = time.monotonic()


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _print_applied(applied: Applied, say: _Lines) -> None:
    """Say what the apply came to, a line each."""
    name, changes, topics = applied.deployment.name, applied.changes, applied.config.topics
    if changes is None:
        say(f"serving {', '.join(topics)} as deployment {name}", now=True)
    elif changes:
        for change in changes:
            say(f"changed {change}" if change.how else str(change), now=True)
        say(f"applied to deployment {name}, now serving {', '.join(topics)}", now=True)
    else:
        say(f"no change: deployment {name} is already serving {', '.join(topics)}", now=True)
    status = _status(applied.deployment)
    for topic, state in status["topics"].items():
        if state["override"] is not None:
            say(ruling(topic, state["override"], time.time()), now=True)
    if line := neighbours(status):
        say(line, now=True)


def _follow(
    deployment: Deployment,
    signals: _Signals,
    say: _Lines,
    cursor: int = 0,
    *,
    driver: str | None = None,
    hosts: bool = False,
) -> int:
    """Print what happens until the deployment ends, or another command owns it.

    ``hosts``: the Ray of this process runs it, so this process stays until it ends, whoever owns it.
    """
    is_away = False
    while True:
        news = deployment.follow(cursor, driver)
        if news is None and not is_away:
            say(f"the scaler of {deployment.name} does not answer: waiting for it, or for another", now=True)
        if news is None and not hosts and signals.count > 1 and not signals.ordered:
            say("interrupted: nothing was ordered", now=True)
            return KILLED_BY_USER
        is_away = news is None
        if news is not None:
            if news["superseded_by"] and driver is not None:
                say(f"superseded by {news['superseded_by']}", now=True)
                if not hosts:
                    return 0
                say("this process stays: the Ray it started runs the deployment", now=True)
                driver = None
            _pass_on(signals, deployment, news, say)
            if news["cursor"] < cursor:  # the scaler was restarted: it counts from 0 again
                cursor = 0
                continue
            cursor = news["cursor"]
            say(*news["lines"])
            if news["result"] is not None:
                deployment.wait_gone()
                return _print_end(news["result"], signals.ordered, say)
        time.sleep(POLL_S)


def _pass_on(signals: _Signals, deployment: Deployment, news: Mapping[str, Any], say: _Lines) -> None:
    """Order what the signals ask for; once more where the scaler does not know of it, as one restarted without."""
    if not news["stopping"] and news["result"] is None:
        signals.ordered = 0
    if (order := signals.due()) and _hand_over_order(deployment, order, say):
        signals.given(order)


def _hand_over_order(deployment: Deployment, order: int, say: _Lines) -> bool:
    """Hand over the stop order; False if the scaler has just gone away: it, or the next one, gets it later."""
    try:
        left_s = round(deployment.stop(kill=order > 1), 1)
    except OperationFailed:
        return False
    if order > 1:
        say("stopping: killing every worker", now=True)
    else:
        say(f"stopping: draining every worker, for {left_s:.15g} s at most; Ctrl-C again kills", now=True)
    return True


def _print_end(result: Mapping[str, Any], ordered: int, say: _Lines) -> int:
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


def _status(deployment: Deployment) -> dict[str, Any]:
    """What ``hermes status --json`` prints; no topics while the scaler is away."""
    try:
        return deployment.status()
    except OperationFailed:
        return {"topics": {}}


def _detach(applied: Applied, signals: _Signals, driver: str) -> int:
    """Wait until each topic that wants workers has one that consumes, then leave the deployment running."""
    deployment, topics = applied.deployment, applied.config.topics
    deadline_s = time.monotonic() + DETACH_WAIT_S
    while time.monotonic() < deadline_s and not signals.count:
        news = deployment.follow(0, driver)
        if news is not None and news["superseded_by"]:
            click.echo(f"superseded by {news['superseded_by']}")
            return 0
        if news is not None and (news["stopping"] or news["result"] is not None):
            raise OperationFailed(f"deployment {deployment.name} was stopped while its workers started")
        states = _status(deployment)["topics"]
        errors = [
            f"{name}: {state['start_error']}"
            for name, state in states.items()
            if "start_failing" in state["conditions"]
        ]
        if errors:
            raise OperationFailed(f"workers do not start: {'; '.join(errors)}; the scaler keeps trying: hermes status")
        if states and all(_is_up(state, topics[name].workers.min) for name, state in states.items()):
            click.echo(f"deployment {deployment.name} is up and stays: hermes status shows it, hermes stop ends it")
            return 0
        time.sleep(POLL_S)
    if signals.count:
        click.echo(f"interrupted: deployment {deployment.name} stays, hermes status shows it, hermes stop ends it")
        return KILLED_BY_USER
    raise OperationFailed("not every topic has a consuming worker yet; the deployment stays up: see hermes status")


def _is_up(state: Mapping[str, Any], minimum: int) -> bool:
    workers = state["workers"]
    if state["depth"] is None or workers["target"] is None:
        return False
    may_come = minimum and not state["override"] and "capacity_exhausted" not in state["conditions"]
    return workers["observed"] > 0 or not (workers["target"] or may_come)
