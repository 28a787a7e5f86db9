"""``hermes status --watch``: a deployment as it goes on, until Ctrl-C; and the showing of it, which the demo shares."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

import click
from rich.console import Console
from rich.live import Live

from hermes_ray.cli.reach import reach
from hermes_ray.cli.record import Recording
from hermes_ray.cli.remarks import headline, metrics_place, notices
from hermes_ray.cli.tables import terminal
from hermes_ray.cli.view import Head, line, view
from hermes_ray.cli.watcher import Watcher

__all__ = ["show", "watch"]

EVERY_S = 1.0
KEPT_COUNT = 300  # five minutes are drawn
NEWS_S = 60.0


def watch(words: Sequence[str], as_json: bool) -> int:
    """Show the deployment of ``deployment.name`` every second until it ends or a person ends this: 0 for both.

    On a terminal a screen; elsewhere a line each time, or with ``as_json`` the scaler's answer as a line of JSON.
    """
    watcher = None
    try:
        deployment = reach(words)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the terminal would be left on our screen
        record = Recording(zero_s=time.time(), kept_count=KEPT_COUNT)
        watcher = Watcher(deployment, record, EVERY_S)
        with watcher:
            if as_json:
                _print_answers(watcher)
            else:
                show(terminal(), record, _heads(deployment.name, watcher))
                click.echo(f"deployment {deployment.name} has ended")
    except KeyboardInterrupt:
        if watcher is not None and watcher.is_asking:
            # A thread that asks Ray while it shuts down makes Ray end the process, with exit code 1: leave before that.
            sys.stdout.flush()
            os._exit(0)
    return 0


def show(console: Console, record: Recording, heads: Iterable[Head], line_every_s: float = 0.0) -> None:
    """Show the record under each of ``heads``, which keep the pace: on a terminal as a screen, elsewhere as lines.

    These are ``line_every_s`` apart at least.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            for head in heads:
                live.update(view(record, head, time.time(), width=console.width, height=console.height), refresh=True)
        return
    next_s = time.monotonic()
    for head in heads:
        if time.monotonic() >= next_s:
            console.print(line(record, head.brief, time.time()), markup=False, soft_wrap=True)
            next_s += line_every_s


def _print_answers(watcher: Watcher) -> None:
    printed = None
    while True:
        is_over = watcher.result is not None
        if not is_over:
            watcher.wait(EVERY_S)
        if (status := watcher.record.status) is not printed:
            click.echo(json.dumps(status))
            printed = status
        if is_over:
            return


def _heads(name: str, watcher: Watcher) -> Iterator[Head]:
    """What stands above the topics, at each answer and at least every second; the last one when all is over."""
    while True:
        is_over = watcher.result is not None
        if not is_over:
            watcher.wait(EVERY_S)
        yield _head(name, watcher.record, time.time())
        if is_over:
            return


def _head(name: str, record: Recording, now_s: float) -> Head:
    if (status := record.status) is None:
        return Head(title=f"deployment {name}", brief=name, notice="the scaler has not answered yet")
    news = record.news(now_s, NEWS_S)
    return Head(
        title=headline(name, status, now_s),
        brief=", ".join(filter(None, [name, "stopping" if status["stopping"] else "", news])),
        link=metrics_place(status),
        notice=news or "; ".join(notices(status, now_s)),
    )
