"""``hermes why`` and ``hermes decisions``: what was decided when, as sentences."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence

import click

from hermes_ray.cli.durations import ago, duration_s, duration_text
from hermes_ray.cli.reach import need_topic, perhaps_topic, reach
from hermes_ray.cli.remarks import remarks
from hermes_ray.cli.tables import console_of, say
from hermes_ray.scaler.decision_memory import kept_decision_count

__all__ = ["decisions", "why"]

PIPED_COLUMNS = 160


def why(words: Sequence[str], as_json: bool) -> int:
    """Print what holds of a topic now and its last decisions, the newest first."""
    topic, rest = need_topic("why", words)
    answer = reach(rest).why(topic)
    if as_json:
        click.echo(json.dumps(answer))
        return 0
    now_s, console = time.time(), console_of(PIPED_COLUMNS)
    if answer["stopping"]:
        say(console, "the deployment is stopping, all workers drain")
    say(console, f"now: {answer['now']['text']}" if answer["now"] else "now: nothing is decided yet")
    for remark in remarks(topic, answer, now_s):
        say(console, remark.of(topic), remark.style)
    for decision in reversed(answer["decisions"]):
        say(console, f"{ago(decision['at'], now_s)}: {decision['text']}")
    return 0


def decisions(words: Sequence[str], since: str, as_json: bool) -> int:
    """Print the decisions of the last ``since`` (a duration), of one topic or all, the oldest first."""
    topic, rest = perhaps_topic("decisions", words)
    window_s = duration_s("--since", since)
    now_s = time.time()
    deployment = reach(rest)
    made = deployment.decisions(now_s - window_s, topic)
    if as_json:
        click.echo(json.dumps(made))
        return 0
    console = console_of(PIPED_COLUMNS)
    for decision in made:
        say(console, f"{ago(decision['at'], now_s):>11}  {decision['topic']}: {decision['text']}")
    kept = kept_decision_count(len(deployment.status()["topics"]))
    for name, count in Counter(decision["topic"] for decision in made).items():
        if count >= kept:
            say(console, f"only the last {kept} decisions of {name} are kept")
    if not made:
        say(console, f"no decision changed a target within {duration_text(window_s)}")
    return 0
