"""From the words of a command to the deployment, and the topic, that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from hermes_ray.config import parse_command
from hermes_ray.errors import UserMistake
from hermes_ray.runtime.access import join_cluster
from hermes_ray.runtime.deployment import Deployment

__all__ = ["bare_words", "check_topic", "nearest", "need_topic", "perhaps_topic", "reach"]


def reach(words: Sequence[str]) -> Deployment:
    """The running deployment of ``cluster.name``; raises ``UserMistake`` if there is no cluster or no such one."""
    name = parse_command(words, need_topics=False).config.cluster.name
    join_cluster(name)
    return Deployment.find(name)


def check_topic(deployment: Deployment, topic: str) -> None:
    """Raise ``UserMistake`` naming the nearest topic if ``deployment`` has none called ``topic``."""
    topics = deployment.status()["topics"]
    if topic not in topics:
        raise UserMistake(f"deployment {deployment.name} has no topic {topic}: {nearest(topic, topics)}")


def nearest(topic: str, topics: Iterable[str]) -> str:
    """What to say instead of ``topic``: the name that was meant, or all there are."""
    names = sorted(topics)
    near = get_close_matches(topic, names, n=1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(names) or 'none'}"


def bare_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words without ``=``, and the others: of ``orders config=my.yaml`` first ``["orders"]``."""
    return [word for word in words if "=" not in word], [word for word in words if "=" in word]


def perhaps_topic(command: str, words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The topic among ``words``, None if they name none, and the other words."""
    bare, rest = bare_words(words)
    if len(bare) > 1:
        raise UserMistake(f"hermes {command} takes one topic, not {len(bare)} ({', '.join(bare)}): ask once for each")
    return (bare[0] if bare else None), rest


def need_topic(command: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """The topic among ``words``, and the other words; raises ``UserMistake`` if they name none."""
    topic, rest = perhaps_topic(command, words)
    if topic is None:
        raise UserMistake(f"the topic is missing: write hermes {command} TOPIC; hermes status shows the topics")
    return topic, rest
