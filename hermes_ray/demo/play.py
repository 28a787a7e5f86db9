"""The demo: three topics under 90 seconds of load, shown while it lasts, and an account of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from rich.console import Console

from hermes_ray.broker.dead_letters import dead_letter_ids
from hermes_ray.cli.record import Recording
from hermes_ray.cli.tables import terminal
from hermes_ray.cli.timeline import draw
from hermes_ray.cli.view import Head
from hermes_ray.cli.watch import show
from hermes_ray.cli.watcher import Watcher
from hermes_ray.config.settings import Config
from hermes_ray.demo.environment import OUT, SAMPLE, Environment, step
from hermes_ray.demo.summary import summarise, summary_table, wait_text
from hermes_ray.demo.traffic import BURST, BURST_TOPIC, LOAD_S, Traffic
from hermes_ray.deploy.apply import apply, this_command
from hermes_ray.errors import OperationFailed

__all__ = ["demo"]

ASK_EVERY_S = REFRESH_S = 0.5
LINE_EVERY_S = 5.0
WARM_UP_S = 180.0  # 15 s on a machine at rest
EMPTY_FOR_S = 3.0  # depths and reports are a second old, and not the same second
DRAINED_BY_S = LOAD_S + 45.0
# The burst's pool shrinks a minute after the burst, perhaps later than this; the exit code does not depend on it.
SHRUNK_BY_S = LOAD_S + 25.0
STOP_GRACE_S = 15.0


def demo(words: Sequence[str]) -> int:
    """Run the demo with these configuration keys; 0 if nothing was lost and every topic drained."""
    if find_spec("matplotlib") is None:
        raise OperationFailed("the demo draws with matplotlib, which is missing: pip install 'hermes_ray[plot]'")
    console = terminal()
    began_s = time.monotonic()
    with Environment(words, console) as environment:
        config = environment.config
        with step(console, "the scaler"):
            deployment = apply(
                config, this_command("serve", stays=True), roll=False, say=console.print, before_touching=lambda: None
            ).deployment
        with Watcher(deployment, Recording(), ASK_EVERY_S) as watcher:
            with step(console, "the first workers"):
                _wait_for_first_workers(config, watcher)
            traffic = Traffic(config.broker.urls, _queues(config), import_module(SAMPLE).body)
            watcher.record = Recording(config.topics, time.time())
            episode = _Episode(config, watcher.record, traffic, environment.dashboard)
            episode.play(console)
            with step(console, "draining the workers"):
                deployment.stop()
                killed = watcher.wait_for_end(config.drain_timeout_s + STOP_GRACE_S)["killed"]
        summary = _summary(config, episode)
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    with step(console, "drawing"):
        draw(episode.record, *_titles(summary), OUT / "timeline.png", (BURST_TOPIC, BURST))
    _print_summary(console, summary, episode, killed, time.monotonic() - began_s)
    return 0 if episode.drained_s is not None and not killed and not summary["lost"] else 1


class _Episode:
    """The load from its first message until all is drained and the burst's pool is small again."""

    def __init__(self, config: Config, record: Recording, traffic: Traffic, link: str) -> None:
        self.record = record
        self.traffic = traffic
        self.drained_s: float | None = None
        self._least_workers = config.topics[BURST_TOPIC].workers.min
        self._link = link
        self._empty_since_s: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the load began."""
        return time.time() - self.record.zero_s

    def play(self, console: Console) -> None:
        """Send the load and show what comes of it; ends by itself, drained or not."""
        self.traffic.start()
        show(console, self.record, self._heads(), LINE_EVERY_S)

    def _heads(self) -> Iterator[Head]:
        for phase in self._phases():
            yield Head(title=f"{self.elapsed_s:.0f} s  {phase}", brief=phase, link=f"Ray dashboard {self._link}")
            time.sleep(REFRESH_S)

    def _phases(self) -> Iterator[str]:
        """What is going on, asked again and again."""
        while not self.traffic.is_over:
            yield f"load, burst on {BURST_TOPIC}" if BURST[0] <= self.elapsed_s < BURST[1] else "load"
        self.traffic.finish()
        while self._drains():
            yield "load is over, queues drain"
        while not self._is_small() and self.elapsed_s < SHRUNK_BY_S:
            yield "queues are empty, the pool shrinks"

    def _drains(self) -> bool:
        now_s = self.elapsed_s
        if not self.record.is_empty:
            self._empty_since_s = None
        elif self._empty_since_s is None:
            self._empty_since_s = now_s
        elif now_s - self._empty_since_s >= EMPTY_FOR_S:
            self.drained_s = self._empty_since_s
            return False
        return now_s < DRAINED_BY_S

    def _is_small(self) -> bool:
        now = self.record.now(BURST_TOPIC)
        return now is not None and now.observed <= self._least_workers and not now.starting


def _wait_for_first_workers(config: Config, watcher: Watcher) -> None:
    """Wait until every topic with a minimum has it."""
    deadline_s = time.monotonic() + WARM_UP_S
    while time.monotonic() < deadline_s:
        states = watcher.record.states
        if errors := [f"{topic}: {state['start_error']}" for topic, state in states.items() if state["start_error"]]:
            raise OperationFailed(f"workers do not start: {'; '.join(errors)}")
        if states and all(
            states[topic]["workers"]["observed"] >= chosen.workers.min for topic, chosen in config.topics.items()
        ):
            return
        time.sleep(REFRESH_S)
    raise OperationFailed(f"the first workers did not come up within {WARM_UP_S:.0f} s: {OUT / 'demo.log'} may say why")


def _queues(config: Config) -> dict[str, str]:
    return {topic: config.queue_of(topic) for topic in config.topics}


def _summary(config: Config, episode: _Episode) -> dict[str, Any]:
    """The summary, from the broker's confirms, the sample's ledger and the dead letters."""
    ledger = import_module(SAMPLE).read_ledger(str(OUT / "raidhub.sqlite"))
    published = {
        topic: confirmed | ledger.published.get(topic, frozenset())
        for topic, confirmed in episode.traffic.confirmed.items()
    }
    dead = {
        topic: published[topic].intersection(dead_letter_ids(config.broker.urls, queue))
        for topic, queue in _queues(config).items()
    }
    return summarise(
        episode.record,
        published=published,
        handled=ledger.handled,
        ids=ledger.ids,
        dead=dead,
        seconds=episode.drained_s or episode.elapsed_s,
    )


def _titles(summary: dict[str, Any]) -> tuple[str, str]:
    title = f"{summary['published']:,} messages published, {summary['lost']} lost"
    waits = [
        f"{topic} {wait_text(seen['wait_p95_s'])}"
        for topic, seen in summary["topics"].items()
        if seen["wait_p95_s"] is not None
    ]
    return title, f"wait p95: {', '.join(waits)}"


def _print_summary(console: Console, summary: dict[str, Any], episode: _Episode, killed: int, seconds: float) -> None:
    console.print(summary_table(summary))
    names = ("published", "handled", "lost", "duplicated", "retried", "dead_lettered")
    console.print("  ".join(f"{name.replace('_', ' ')} [bold]{summary[name]:,}[/]" for name in names), soft_wrap=True)
    if episode.drained_s is None:
        left = [topic for topic in episode.record.moments if not (now := episode.record.now(topic)) or not now.is_empty]
        console.print(f"[red]not drained {DRAINED_BY_S:.0f} s after the load began: {', '.join(left)}[/]")
    if killed:
        console.print(f"[red]{killed} handlers were killed[/]")
    console.print(f"[dim]{seconds:.0f} s in all;[/] {OUT / 'timeline.png'} [dim]and[/] {OUT / 'summary.json'}")
